"""The derivation of broken symmetry says what its chapter promises, and its formulas agree with numpy on real arrays."""

import numpy as np
import pytest
import sympy as sp

from hopmix.memory.asymmetry import derivation as chapter
from hopmix.memory.asymmetry.derivation import DERIVATION

SIZES = {chapter.N: 3, chapter.M_h: 4}


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "memory/asymmetry"
    assert DERIVATION.label("rate") == "asymmetry-rate"
    assert DERIVATION.sources[0] == "karakida2024hierarchical"


@pytest.mark.parametrize("step_id", ["adiabatic-energy", "rate", "linear-rate", "centred-motion", "direction", "radius-rate", "amplitude-ratio", "winding", "drive-slope"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


def numeric(expr: sp.Expr, arrays: dict):
    expr = expr.subs(SIZES).doit()
    entries = {entry: arrays[str(entry.base.label)][tuple(int(index) - 1 for index in entry.indices)] for entry in expr.atoms(sp.Indexed)}
    return float(expr.subs(entries))


def test_the_centred_operator_is_what_numpy_computes():
    M = np.random.default_rng(0).normal(size=(3, 3))
    projection = np.eye(3) - 1 / 3
    right = DERIVATION["centred-operator"].statement.rhs
    for row in range(3):
        for column in range(3):
            entry = right.subs({chapter.m: row + 1, chapter.n: column + 1})
            value = numeric(entry, {"M": M, "P": projection})
            assert value == pytest.approx((projection @ M @ projection)[row, column], abs=1e-13)
    entry = DERIVATION["projection"].statement.rhs.subs({chapter.m: 1, chapter.n: 2, chapter.N: 3})
    assert float(entry) == pytest.approx(-1 / 3)


def test_the_sign_of_the_pseudo_energy_matters():
    """With the opposite sign of its last term the adiabatic energy is no longer the general one."""
    step = DERIVATION["adiabatic-energy"]
    term = chapter.total(chapter.g[chapter.m] * chapter.A[chapter.alpha, chapter.m] * chapter.f(chapter.u[chapter.alpha]), chapter.alpha, chapter.m)
    flipped = DERIVATION.with_statement("adiabatic-energy", sp.Eq(step.statement.lhs, step.statement.rhs + term))
    with pytest.raises(AssertionError, match="adiabatic-energy"):
        flipped.check("adiabatic-energy")
