"""Wrong equations fail: every mutant of every step of every derivation, and in each of the two independent checks alone."""

from collections import Counter

import pytest
import sympy as sp
from sympy import Eq, IndexedBase, Sum, symbols

from hopmix.derivation import Derivation, Rate, VerificationError, assert_mutants_fail, checks, derivations, mutants

STEPS = [(name, step.id) for name, derivation in derivations().items() for step in derivation.steps]
S = symbols("S", integer=True, positive=True)
i, j = symbols("i j", integer=True, positive=True)
x, w = IndexedBase("x"), IndexedBase("w")
E = symbols("E", real=True)


@pytest.mark.parametrize(("name", "step_id"), STEPS, ids=[step_id for _, step_id in STEPS])
def test_every_mutant_of_every_step_fails(name, step_id):
    assert assert_mutants_fail(derivations()[name], step_id) > 0


@pytest.fixture(scope="module", params=sorted(derivations()))
def sample(request):
    """Every fifth mutant of the exact indexed steps of a derivation, with the derivation that states it.

    Without those of powers: multiplied out, the third power of a norm has thousands of terms.
    """
    derivation = derivations()[request.param]
    steps = [step for step in derivation.steps if step.kind == "exact" and step.statement.has(sp.Sum, sp.Indexed)]
    found = [(step.id, what, statement) for step in steps for what, statement in mutants(step.statement) if not what.startswith("power")]
    assert len(found) > 5
    return derivation, found[::5]


def test_random_numbers_alone_reject_mutants(sample):
    derivation, found = sample
    same = 0
    for step_id, _, statement in found:
        changed = derivation.with_statement(step_id, statement)
        try:
            checks.check_at_random(changed, changed[step_id], points=2, digits=20)
        except VerificationError:
            continue
        assert checks.vanishes(changed.residual(step_id), changed.indices)
        same += 1
    assert same <= 0.05 * len(found)


def test_the_normal_form_alone_rejects_mutants(sample):
    derivation, found = sample
    outcomes = Counter()
    for step_id, _, statement in found:
        changed = derivation.with_statement(step_id, statement)
        try:
            zero = checks.vanishes(changed.residual(step_id), changed.indices)
        except (TypeError, ValueError):
            outcomes["refused"] += 1
            continue
        outcomes["same" if zero else "rejected"] += 1
        if zero:
            checks.check_at_random(changed, changed[step_id], points=2, digits=20)
    assert outcomes["rejected"] >= 0.9 * len(found), outcomes


@pytest.mark.parametrize("name", sorted(derivations()))
def test_both_checks_accept_the_true_statements(name):
    derivation = derivations()[name]
    for step in derivation.steps:
        if step.kind == "exact" and not step.statement.has(sp.Limit):
            assert checks.check_at_random(derivation, step, points=1, digits=20) < 1e-20
            assert checks.vanishes(derivation.residual(step.id), derivation.indices)


def toy(check: str) -> Derivation:
    toy = Derivation("memory/toy", "Toy", (), {i: S, j: S})
    toy.define("energy", Eq(E, Sum(w[i, j] * x[i] * x[j], (i, 1, S), (j, 1, S))), "A quadratic form.")
    if check == "none":
        return toy
    toy.exact("again", Eq(E, Sum(x[i] * Sum(w[i, j] * x[j], (j, 1, S)), (i, 1, S))), "Nested.", using=("energy",))
    return toy


def test_a_definition_that_nothing_rests_on_is_found_out():
    with pytest.raises(AssertionError, match="mutants survive"):
        assert_mutants_fail(toy("none"), "energy")


def test_a_mutant_that_says_the_same_is_no_survivor():
    toy = Derivation("memory/toy", "Toy", (), {i: S, j: S})
    toy.exact("form", Eq(2 * Sum(x[i] * x[j], (i, 1, S), (j, 1, S)), 2 * Sum(x[i], (i, 1, S)) ** 2), "Square.")
    assert assert_mutants_fail(toy, "form") > 3


def test_a_survivor_is_named(monkeypatch):
    derivation = toy("again")
    assert assert_mutants_fail(derivation, "again") > 5
    monkeypatch.setattr(checks, "run", lambda derivation, step: "never looked")
    with pytest.raises(AssertionError, match=r"step 'again': \d+ of \d+ mutants survive\n  sign"):
        assert_mutants_fail(derivation, "again")


def test_a_step_without_mutants_is_an_error():
    bare = Derivation("memory/toy", "Toy", (), {i: S})
    bare.define("index", Eq(Rate(x[i]), w[i]), "Nothing in it can be changed.")
    with pytest.raises(AssertionError, match="0 of 0 mutants"):
        assert_mutants_fail(bare, "index")


def test_mutants_change_signs_terms_factors_indices_and_powers():
    words = [what for what, _ in mutants(Eq(E, 2 * w[i, j] * x[i] ** 2 + x[j]))]
    for beginning in ("sign", "without x", "without factor", "twice", "indices of w[i, j] swapped", "first index of w[i, j]", "power of x[i]**2 raised"):
        assert any(word.startswith(beginning) for word in words), beginning


def test_where_the_right_side_is_a_number_the_left_is_changed_too():
    changed = {statement.lhs for _, statement in mutants(Eq(Sum(w[i, j], (j, 1, S)) * x[i], 0))}
    assert Sum(w[j, i], (j, 1, S)) * x[i] in changed
