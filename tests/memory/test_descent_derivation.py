"""The derivation of descent says what its chapter promises, and its formulas agree with numpy on real arrays."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from hopmix.memory.descent import derivation as chapter
from hopmix.memory.descent.derivation import DERIVATION


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "memory/descent"
    assert DERIVATION.label("descent") == "descent-descent"


@pytest.mark.parametrize("step_id", ["interaction-change", "leaky-change", "layernorm-work", "descent", "stretch", "product-direction", "radius-line"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {name for step in DERIVATION.steps for name in step.using}
    assert not [step.id for step in DERIVATION.steps if step.kind == "definition" and step.id not in used]


def test_the_constant_is_what_minimising_gelus_slope_finds():
    found = minimize_scalar(lambda s: norm.cdf(s) + s * norm.pdf(s), bounds=(-4, 0), method="bounded", options={"xatol": 1e-10})
    assert float(DERIVATION["concavity"].statement.rhs) == pytest.approx(-found.fun, abs=1e-14)
    assert found.x == pytest.approx(-np.sqrt(2), abs=1e-6)


def test_the_safe_step_solves_its_quadratic():
    right = DERIVATION["safe-step"].statement.rhs
    sigma, k, w, d = 0.7, 2.0, -0.3, 0.5
    h = float(right.subs({chapter.sigma: sigma, chapter.k: k, chapter.w: w, chapter.d: d}))
    assert np.roots([d - k**2, 2 * w + 2 * k * sigma, 0]).max() == pytest.approx(h, rel=1e-12)


def test_the_work_is_what_numpy_finds():
    rng = np.random.default_rng(0)
    x, drive, a, h, gamma, eps = rng.normal(size=5), rng.normal(size=5), 0.4, 0.6, 1.3, 0.2

    def layernorm(v):
        radius = np.sqrt(v.var() + eps)
        return gamma * (v - v.mean()) / radius, radius

    (g, rho), (g_next, rho_next) = layernorm(x), layernorm(a * x + h * drive)
    p, symbols = chapter.p, chapter
    values = {
        symbols.rho[p]: rho, symbols.rho_[p]: rho_next, symbols.Q[p]: ((g_next - g) ** 2).sum() + gamma**2 * 5 * eps * (1 / rho_next - 1 / rho) ** 2,
        symbols.e[p]: -gamma * 5 * eps / rho, symbols.e_[p]: -gamma * 5 * eps / rho_next,
        symbols.a: a, symbols.h: h, symbols.gamma: gamma, symbols.epsilon: eps, symbols.N: 5,
    }  # fmt: skip
    assert float(DERIVATION["layernorm-work"].statement.rhs.subs(values)) == pytest.approx(drive @ (g_next - g), rel=1e-12)
