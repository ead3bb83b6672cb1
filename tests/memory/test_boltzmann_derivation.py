"""The derivation of the attentional machine says what its chapter promises, and its formulas agree with numpy."""

import numpy as np
import pytest
import sympy as sp
from scipy.special import logsumexp, softmax

from hopmix.memory.boltzmann import derivation as chapter
from hopmix.memory.boltzmann.derivation import DERIVATION

SIZES = {chapter.N: 2, chapter.M: 3}


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "memory/boltzmann"
    assert DERIVATION.label("force") == "boltzmann-force"
    assert DERIVATION.sources[0] == "ota2023attention"


@pytest.mark.parametrize("step_id", ["force", "square", "gradient-weight", "em-gradient", "conditional-mean", "joint-divergence", "divergence", "denoising"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


def numeric(expr: sp.Expr, arrays: dict, numbers: dict) -> float:
    """The value of an indexed expression with numpy arrays for its bases: sums by sympy's own doit, entries put in one by one."""
    expr = expr.subs(SIZES).doit()
    entries = {entry: arrays[str(entry.base.label)][tuple(int(index) - 1 for index in entry.indices)] for entry in expr.atoms(sp.Indexed)}
    return float(expr.subs(entries).subs(numbers))


def test_its_formulas_are_what_numpy_computes():
    rng = np.random.default_rng(0)
    W, b, c, v, beta = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=3), rng.normal(size=2), 1.4
    a, e = W @ v + c, (W**2).sum(1) / 2 + W @ b + c
    arrays = {"W": W, "b": b, "c": c, "v": v, "a": a, "e": e, "r": softmax(beta * a), "p": softmax(beta * e), "m": b + W}
    equations, numbers = DERIVATION.equations(), {chapter.beta: beta}
    assert numeric(equations["energy"].rhs, arrays, numbers) == pytest.approx(((v - b) ** 2).sum() / 2 - logsumexp(beta * a) / beta, abs=1e-13)
    assert numeric(equations["partition"].rhs, arrays, numbers) == pytest.approx(2 * np.pi / beta * np.exp(beta * e).sum(), rel=1e-13)
    for mu in range(3):
        assert numeric(equations["field"].rhs.subs(chapter.mu, mu + 1), arrays, numbers) == pytest.approx(a[mu], abs=1e-13)
        for i in range(2):
            found = numeric(equations["gradient-weight"].rhs.subs({chapter.mu: mu + 1, chapter.i: i + 1}), arrays, numbers)
            assert found == pytest.approx(beta * (arrays["r"][mu] * v[i] - arrays["p"][mu] * (b[i] + W[mu, i])), abs=1e-13)
