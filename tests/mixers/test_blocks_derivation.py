"""The derivation of the blocks says what its chapter promises, and its formulas agree with numpy on real arrays."""

import numpy as np
import pytest
import sympy as sp

from hopmix.mixers.blocks import derivation as chapter
from hopmix.mixers.blocks.derivation import DERIVATION

MAIN = ["splitting", "commutator", "parallel-error", "mean-error", "linear-commute", "gradient", "antisymmetric", "curvature", "parallel-count", "model-count"]


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "mixers/blocks" and DERIVATION.label("splitting") == "blocks-splitting"


@pytest.mark.parametrize("step_id", MAIN)
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


def test_counts_are_those_of_mixer_s16():
    numbers = {chapter.C: 512, chapter.S: 196, chapter.L: 8, chapter.q: 16, chapter.kappa: 3, chapter.Y: 10}
    assert DERIVATION["model-count"].statement.rhs.subs(numbers) == 19_585_546
    assert 8 * DERIVATION["symmetric-count"].statement.rhs.subs(numbers) + 769 * 512 + 1024 + 5130 == 10_795_530
    assert 8 * DERIVATION["vanilla-count"].statement.rhs.subs(numbers) + 769 * 512 + 1024 + 5130 == 21_191_178


def test_the_splitting_formula_on_quadratic_fields_in_numpy():
    """Quadratic G has no remainder, so the formula is the whole difference."""
    rng, size, h = np.random.default_rng(0), 3, 0.3
    x, F, K = rng.normal(size=size), rng.normal(size=size), rng.normal(size=(size, size, size))
    K = K + K.transpose(0, 2, 1)

    def G(y):
        return np.einsum("nmp,m,p->n", K, y, y) / 2

    J = np.einsum("nmp,p->nm", K, x)
    serial, parallel = x + h * F + h * G(x + h * F), x + h * (F + G(x))
    right = DERIVATION["splitting"].statement.rhs.subs({chapter.N: size}).doit()
    for n in range(size):
        values = right.subs(chapter.n, n + 1)
        arrays = {"J^G": J, "K^G": K, "F": F, "R^G": np.zeros(size)}
        entries = {e: arrays[str(e.base.label)][tuple(int(i) - 1 for i in e.indices)] for e in values.atoms(sp.Indexed)}
        assert float(values.subs(entries).subs(chapter.h, h)) == pytest.approx(serial[n] - parallel[n], abs=1e-12)
