"""The derivation of the Mixer says what its chapter promises, and its formulas agree with numpy on real arrays."""

import numpy as np
import pytest
import sympy as sp
from scipy.special import erf

from hopmix.memory.hopfield_mixer import derivation as chapter
from hopmix.memory.hopfield_mixer.derivation import DERIVATION

SIZES = {chapter.S: 2, chapter.C: 3, chapter.N_s: 4, chapter.N_c: 2}


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "memory/hopfield_mixer"
    assert DERIVATION.label("mixer") == "hopfield-mixer-mixer"
    assert DERIVATION.sources[0] == "karakida2024hierarchical"


@pytest.mark.parametrize("step_id", ["energy-rate", "layernorm-gradient", "layernorm-hessian", "mixer", "adiabatic-energy", "adiabatic-rate", "skip", "block", "token-hessian", "entry-gain-asymmetry", "gain-on-both-sides", "serial-response"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def numeric(expr: sp.Expr, arrays: dict):
    """The value of an indexed expression with numpy arrays for its bases: sums by sympy's own doit, entries put in one by one."""
    expr = expr.subs(SIZES).doit()
    entries = {entry: arrays[str(entry.base.label)][tuple(int(index) - 1 for index in entry.indices)] for entry in expr.atoms(sp.Indexed)}
    return float(expr.subs(entries).replace(chapter.f, sp.tanh))


def test_the_mixer_is_what_numpy_computes():
    rng = np.random.default_rng(0)
    g, W, V = rng.normal(size=(2, 3)), rng.normal(size=(4, 2)), rng.normal(size=(2, 3))
    expected = W.T @ np.tanh(W @ g) + np.tanh(g @ V.T) @ V
    right = DERIVATION["mixer"].statement.rhs
    for i in range(2):
        for I in range(3):
            assert numeric(right.subs({chapter.i: i + 1, chapter.I: I + 1}), {"g": g, "W": W, "V": V}) == pytest.approx(expected[i, I], abs=1e-12)


def test_the_layernorm_is_the_usual_one():
    x = np.random.default_rng(1).normal(size=(2, 3))
    equations = DERIVATION.equations()
    mean, radius = equations["mean"].rhs.subs(chapter.N, 6), equations["radius"].rhs.subs(chapter.N, 6)
    assert numeric(mean, {"x": x}) == pytest.approx(x.mean(), abs=1e-14)
    value = numeric(radius.subs(chapter.xbar, x.mean()).subs(chapter.epsilon, 0.1), {"x": x})
    assert value == pytest.approx(np.sqrt(x.var() + 0.1), abs=1e-14)


def test_the_gelu_is_the_usual_one():
    u = np.linspace(-4, 4, 9)
    gelu = sp.lambdify(chapter.u, DERIVATION["gelu"].statement.rhs, ["scipy", "numpy"])
    assert gelu(u) == pytest.approx(u * (1 + erf(u / np.sqrt(2))) / 2, abs=1e-14)
    lowest = float(DERIVATION["gelu-lowest-slope"].statement.rhs)
    assert lowest == pytest.approx(-0.129, abs=1e-3)


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert not [step.id for step in DERIVATION.steps if step.kind == "definition" and step.id not in used]


def test_the_gain_breaks_the_symmetry_of_the_jacobian_as_said():
    x, gain, eps = np.random.default_rng(2).normal(size=(2, 3)), np.random.default_rng(3).normal(size=(2, 3)), 0.1

    def layernorm(v):
        return gain * (v - v.mean()) / np.sqrt(v.var() + eps)

    step = 1e-6
    moved = [step * unit.reshape(2, 3) for unit in np.eye(6)]
    jacobian = np.array([(layernorm(x + move) - layernorm(x - move)).ravel() / (2 * step) for move in moved]).T
    rho, i, I, j, J = np.sqrt(x.var() + eps), chapter.i, chapter.I, chapter.j, chapter.J
    z, right = (x - x.mean()) / rho, DERIVATION["entry-gain-asymmetry"].statement.rhs
    for (a, A), (b, B) in (((0, 0), (1, 2)), ((1, 1), (0, 2)), ((0, 1), (0, 2))):
        values = {chapter.Gamma[i, I]: gain[a, A], chapter.Gamma[j, J]: gain[b, B], chapter.z[i, I]: z[a, A], chapter.z[j, J]: z[b, B]}
        values |= {chapter.gamma: 1, chapter.N: 6, chapter.rho: rho}
        first, second = 3 * a + A, 3 * b + B
        assert jacobian[first, second] - jacobian[second, first] == pytest.approx(float(right.subs(values)), abs=1e-8)
