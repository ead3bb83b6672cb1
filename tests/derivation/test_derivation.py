"""Steps of every kind hold or fail as they should; errors name what is wrong; rules are safe."""

import pytest
import sympy as sp
from sympy import Derivative, Eq, Ge, IndexedBase, KroneckerDelta, Le, Limit, Sum, exp, oo, sqrt, symbols

from hopmix.derivation import Derivation, Rate, VerificationError, derivations
from hopmix.derivation.rewrite import Rule, rewrite

S, C = symbols("S C", integer=True, positive=True)
i, j = symbols("i j", integer=True, positive=True)
I, J = symbols("I J", integer=True, positive=True)
x, y, w, g = (IndexedBase(name) for name in ("x", "y", "w", "g"))
E, U = symbols("E U", real=True)
a, u, mean = symbols("a u mean", real=True)


def fresh(**options) -> Derivation:
    return Derivation("memory/toy_model", "Toy", ("key",), {i: S, j: S, I: C, J: C}, **({"dynamic": (x, y, g, E)} | options))


def total(body, *indices):
    return Sum(body, *[(index, 1, S if index in (i, j) else C) for index in indices])


def quadratic() -> Derivation:
    toy = fresh()
    toy.define("energy", Eq(E, total(x[i] ** 2, i) / 2), "A spring.", source="key")
    toy.define("motion", Eq(Rate(x[i]), -x[i]), "Friction.")
    toy.exact("rate", Eq(Rate(E), -total(x[i] ** 2, i)), "Chain rule.", using=("energy", "motion"))
    toy.exact("decay", Eq(Rate(E), -2 * E), "The same.", using=("rate", "energy"))
    toy.exact_at_sizes("size", Eq(total((x[i] - x[j]) ** 2, i, j), 2 * S * total(x[i] ** 2, i) - 2 * total(x[i], i) ** 2), "Pairs.", sizes=({S: 2}, {S: 3}))
    toy.numeric("digits", Eq(total(exp(x[i]), i) * a, total(a * exp(x[j]), j)), "Linear.", points=3, digits=30)
    toy.numeric("cauchy", Le(total(x[i] * y[i], i) ** 2, total(x[i] ** 2, i) * total(y[i] ** 2, i)), "Cauchy.", points=4)
    toy.exact("limit", Eq(Limit(exp(u) + 1, u, -oo), 1), "Exponentials vanish.")
    return toy


def test_every_kind_is_checked_and_counted():
    report = quadratic().verify()
    assert report.ok and report.name == "memory/toy_model"
    assert report.counts() == {"definition": 2, "exact": 3, "exact at sizes": 1, "numeric": 2}
    details = {row.id: row.detail for row in report.rows}
    assert details["size"] == "2 entries simplify to 0" and details["limit"] == "residual 0"
    assert details["rate"].startswith("residual 0; at random numbers") and details["digits"].endswith("at 3 points")


WRONG = {
    "rate": Eq(Rate(E), -2 * total(x[i] ** 2, i)),
    "decay": Eq(Rate(E), -E),
    "size": Eq(total((x[i] - x[j]) ** 2, i, j), 2 * S * total(x[i] ** 2, i)),
    "digits": Eq(total(exp(x[i]), i) * a, total(a * exp(x[j]), j) + sp.Rational(1, 10**28)),
    "cauchy": Le(total(x[i] ** 2, i) * total(y[i] ** 2, i), total(x[i] * y[i], i) ** 2),
    "limit": Eq(Limit(exp(u) + 1, u, -oo), 2),
}


@pytest.mark.parametrize(("step_id", "statement"), WRONG.items(), ids=WRONG)
def test_a_wrong_step_names_itself_its_sides_and_the_residual(step_id, statement):
    changed = quadratic().with_statement(step_id, statement)
    with pytest.raises(VerificationError) as error:
        changed.verify()
    message = str(error.value)
    assert f"step {step_id!r}" in message and "memory/toy_model" in message
    assert f"left:     {statement.lhs}" in message and f"right:    {statement.rhs}" in message
    assert message.split("residual: ")[1].strip() not in ("", "0")


@pytest.mark.parametrize("left", [sp.log(u - 3), 1 / (total(x[i], i) - total(x[j], j))], ids=["complex", "undefined"])
def test_an_inequality_between_what_is_no_real_number_does_not_hold(left):
    toy = fresh()
    toy.numeric("bad", sp.Le(left, sp.Symbol("b") + 100, evaluate=False), "No.", points=2)
    with pytest.raises(VerificationError, match="violated"):
        toy.verify()


def test_ranges_of_random_numbers_are_kept():
    toy = fresh()
    toy.numeric("small", Le(a**2, sp.Rational(1, 100)), "Within.", points=5, ranges={a: (-0.1, 0.1)})
    toy.numeric("entries", Le(total(x[i], i), 0), "Negative.", points=5, ranges={x: (-1, 0)})
    assert toy.verify().ok
    toy.numeric("large", Le(a**2, sp.Rational(1, 100)), "Without.", points=5)
    with pytest.raises(VerificationError):
        toy.verify()


def test_with_statement_changes_one_step_and_what_rests_on_it():
    toy = quadratic()
    toy.verify()
    changed = toy.with_statement("motion", Eq(Rate(x[i]), -2 * x[i]))
    with pytest.raises(VerificationError, match="'rate'"):
        changed.check("rate")
    assert changed.verify(only=("size", "energy")).ok
    assert toy.verify().ok and toy["motion"].statement.rhs == -x[i]
    with pytest.raises(KeyError, match="no step 'speed'"):
        toy.with_statement("speed", Eq(E, 0))


def test_only_the_named_steps_are_checked_and_only_once():
    toy = quadratic()
    report = toy.verify(only=["energy", "rate"])
    assert [row.id for row in report.rows] == ["energy", "rate"]
    assert toy.verify(only=["rate"]).rows[0] is report.rows[1]
    assert not toy.verify(only=[]).ok
    with pytest.raises(KeyError, match="its steps are energy, motion"):
        toy.verify(only=["speed"])
    with pytest.raises(TypeError, match="only: needs a collection"):
        toy.verify(only="rate")


def test_equations_are_plain_sympy():
    equations = quadratic().equations()
    assert list(equations)[:2] == ["energy", "motion"]
    energy = equations["energy"].rhs.subs(S, 2).doit()
    assert sp.diff(energy, x[1]) == x[1]
    assert sp.solve(Eq(energy, 2), x[2])


MISUSE = {
    "repeated": (lambda d: d.define("energy", Eq(E, 1), "Again."), ValueError, "already has a step 'energy'"),
    "unknown using": (lambda d: d.exact("new", Eq(E, E + 0 * a + U), "x", using=("speed",)), ValueError, "'speed', which is no earlier step"),
    "identifier": (lambda d: d.define("Bad_id", Eq(E, 1), "x"), ValueError, "lower-case"),
    "no statement": (lambda d: d.define("new", E, "x"), TypeError, "an equation, found E"),
    "trivial statement": (lambda d: d.exact("new", Eq(E, E), "x"), TypeError, "found True"),
    "inequality in place of an equation": (lambda d: d.exact("new", Le(E, U), "x"), TypeError, "needs an equation"),
    "no reason": (lambda d: d.define("new", Eq(U, 1), " "), TypeError, "needs a reason"),
    "no sizes": (lambda d: d.exact_at_sizes("new", Eq(U, 1), "x", sizes=()), ValueError, "at least one assignment"),
    "no points": (lambda d: d.numeric("new", Eq(U, 1), "x", points=0), ValueError, "at least 1"),
    "no digits": (lambda d: d.numeric("new", Eq(U, 1), "x", digits=0), ValueError, "at least 1"),
    "one name, symbol and entries": (lambda d: d.define("new", Eq(sp.Symbol("x"), 1), "x"), ValueError, "name x for two things"),
    "one name, two assumptions": (lambda d: d.define("new", Eq(sp.Symbol("E"), 1), "x"), ValueError, "name E for two things"),
    "two ranges of an index": (lambda d: d.exact("new", Eq(x[i] + x[I], U), "x"), ValueError, "index 1 of x has different ranges"),
    "two ranges through a rule": (lambda d: d.exact("new", Eq(x[I], U), "x", using=("motion",)), ValueError, "different ranges"),
    "a delta of two ranges": (lambda d: d.define("new", Eq(U, KroneckerDelta(i, I)), "x"), ValueError, "different ranges C and S"),
    "a dependent limit": (lambda d: d.define("new", Eq(U, Sum(x[j], (j, 1, i))), "x"), ValueError, "depends on another index"),
    "an unknown option": (lambda d: d.define("new", Eq(U, 1), "x", colour="red"), TypeError, "colour"),
}


@pytest.mark.parametrize(("misuse", "error", "words"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_named(misuse, error, words):
    toy = quadratic()
    with pytest.raises(error, match=words):
        misuse(toy)
    assert "new" not in toy.equations()


@pytest.mark.parametrize("name", sorted(derivations()))
def test_names_mean_one_thing_in_every_derivation(name):
    derivation = derivations()[name]
    symbols_, bases = set(), set()
    for statement in derivation.equations().values():
        indexed = statement.atoms(sp.Indexed)
        bases |= {str(entry.base.label) for entry in indexed}
        symbols_ |= {s.name for s in statement.xreplace({entry: entry.func(IndexedBase("_"), *entry.indices) for entry in indexed}).atoms(sp.Symbol)}
    assert bases and symbols_ and not symbols_ & bases


@pytest.mark.parametrize("name", sorted(derivations()))
def test_every_definition_is_used_by_a_checked_step(name):
    derivation = derivations()[name]
    used = {earlier for step in derivation.steps if step.kind != "definition" for earlier in step.using}
    idle = [step.id for step in derivation.steps if step.kind == "definition" and step.id not in used]
    assert not idle, f"{name}: nothing checked rests on the definitions {', '.join(idle)}"


@pytest.mark.parametrize("name", sorted(derivations()))
def test_every_derivation_verifies(name):
    assert derivations()[name].verify().ok


def test_rules_that_rewrite_without_end_are_refused():
    toy = fresh()
    toy.define("there", Eq(x[i], y[i] + 1), "x")
    toy.define("back", Eq(y[i], x[i] + 1), "x")
    toy.exact("round", Eq(x[i], U), "x", using=("there", "back"))
    with pytest.raises(RuntimeError, match="rewrite each other without end"):
        toy.verify()


@pytest.mark.parametrize(
    ("equation", "words"),
    [
        (Eq(total(x[i], i), U), "no single quantity"),
        (Eq(x[i] * x[j], U), "no single quantity"),
        (Eq(E, x[i]), "i stands free on the right side"),
    ],
)
def test_an_equation_that_is_no_rule_is_refused(equation, words):
    with pytest.raises(ValueError, match=words):
        Rule.from_equation(equation, frozenset({i, j}))


def test_a_rule_does_not_capture_bound_indices():
    rule = Rule.from_equation(Eq(y[i], total(w[i, j] * x[j], j)), frozenset({i, j}))
    squared = rewrite(total(y[j] * y[i], j), (rule,), frozenset())
    plain = squared.subs(S, 2).doit()
    expected = sum((w[n, 1] * x[1] + w[n, 2] * x[2]) * (w[i, 1] * x[1] + w[i, 2] * x[2]) for n in (1, 2))
    assert sp.expand(plain - expected) == 0


def test_a_hidden_dependence_is_not_differentiated_away():
    toy = fresh()
    toy.define("mean", Eq(mean, total(x[i], i) / S), "Of the entries.")
    toy.exact("slope", Eq(Derivative((x[i] - mean) ** 2, x[i]), 2 * (x[i] - mean)), "Forgets the mean.")
    toy.exact("flat", Eq(Derivative(g[i], x[j]), 0), "Forgets what g is.")
    for step_id, hidden in (("slope", "mean"), ("flat", "g")):
        with pytest.raises(ValueError, match=f"whether {hidden} depends"):
            toy.check(step_id)


def test_nothing_is_known_of_the_derivative_of_a_bare_name():
    toy = fresh()
    toy.exact("flat", Eq(Derivative(U, u), 0), "Nothing says so.")
    toy.exact("sum", Eq(total(Derivative(U, x[i]), i), S * Derivative(U, x[j])), "Nor this.")
    for step_id in ("flat", "sum"):
        with pytest.raises(VerificationError):
            toy.check(step_id)


def test_what_is_defined_by_moving_quantities_moves():
    toy = fresh(dynamic=(x,))
    toy.define("mean", Eq(mean, total(x[i], i) / S), "Of the entries.")
    assert mean in toy.dynamic
    toy.exact("rate", Eq(Rate(a * mean), a * total(Rate(x[i]), i) / S), "Linear.", using=("mean",))
    toy.exact("product", Eq(Rate(a * mean * x[j]), a * x[j] * Rate(mean) + a * mean * Rate(x[j])), "Leibniz.")
    assert toy.verify().ok


def test_random_numbers_see_every_way_indices_can_coincide():
    toy = fresh()
    toy.numeric("delta", Eq(KroneckerDelta(i, j) * KroneckerDelta(I, J) * a, KroneckerDelta(i, j) * a), "Only where i = j and I != J.", points=1)
    toy.numeric("unequal", Eq((1 - KroneckerDelta(i, j)) * a, a), "Only where i = j.", points=1)
    for step_id in ("delta", "unequal"):
        with pytest.raises(VerificationError):
            toy.check(step_id)


def test_labels_follow_the_chapter():
    assert quadratic().label("rate") == "toy-model-rate" == quadratic()["rate"].label



@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([{S: 0, C: 1}], "whole numbers from 1"),
        ([{S: 2, C: 2}, {S: -2, C: 2}], "whole numbers from 1"),
        ([{S: True}], "whole numbers from 1"),
        ([{"S": 2}], "needs size symbols"),
        ([], "at least one assignment"),
    ],
)
def test_sizes_at_which_nothing_would_be_checked_are_refused(sizes, words):
    with pytest.raises(ValueError, match=words):
        fresh().exact_at_sizes("wrong", sp.Eq(x[i], 7 * x[i]), "Because.", sizes=sizes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ranges": {a: (1, 1), u: (0, 1)}}, "low < high for a"),
        ({"ranges": {a: (2, 1)}}, "low < high for a"),
        ({"ranges": {a: (0, float("inf"))}}, "both finite"),
        ({"ranges": {sp.Symbol("other"): (0, 1)}}, "other does not occur"),
        ({"points": 0}, "at least 1"),
    ],
)
def test_samples_that_would_show_nothing_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        fresh().numeric("wrong", sp.Eq(a, u), "Because.", **options)


def test_points_must_be_a_number():
    with pytest.raises(TypeError, match="points: wrong needs a whole number, found '3'"):
        fresh().numeric("wrong", sp.Eq(a, u), "Because.", points="3")


def test_difference_is_no_statement():
    with pytest.raises(TypeError, match="an equation or one of <="):
        fresh().numeric("wrong", sp.Ne(a, u), "Because.")


@pytest.mark.parametrize("statement", [None, True, "a = b", sp.Le(a, u), sp.Eq(a, a)])
def test_a_changed_statement_must_be_one_of_its_kind(statement):
    derivation = fresh()
    derivation.exact("right", sp.Eq((a + u) ** 2, a**2 + 2 * a * u + u**2), "Because.")
    with pytest.raises(TypeError, match="right .exact. needs an equation, found"):
        derivation.with_statement("right", statement)
    with pytest.raises(ValueError, match="says nothing"):
        derivation.with_statement("right", sp.Eq(a, a, evaluate=False))


def test_labels_and_rules_are_of_known_steps():
    derivation = fresh()
    with pytest.raises(KeyError, match="no step 'nope'"):
        derivation.label("nope")
    with pytest.raises(TypeError, match="found the string 'nope'"):
        derivation.rules("nope")


@pytest.mark.parametrize(("options", "words"), [({"name": None}, "name: needs words"), ({"title": ""}, "title: needs words"), ({"sources": "key"}, "sources"), ({"indices": None}, "indices")])
def test_a_derivation_needs_its_parts(options, words):
    with pytest.raises(TypeError, match=words):
        Derivation(**{"name": "part/chapter", "title": "A title", "sources": (), "indices": {i: S}} | options)
