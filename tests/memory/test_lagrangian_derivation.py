"""The derivation of the Lagrangians says what the code computes; the page's table and figures are made from both."""

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.special import erf

from hopmix.memory.lagrangian import LAGRANGIANS, LayerNorm, Power, ReLU, Softplus, Spherical, Tanh, figures, lagrangian
from hopmix.memory.lagrangian import derivation as chapter
from hopmix.memory.lagrangian import table
from hopmix.memory.lagrangian.derivation import DERIVATION

X = torch.linspace(-2.3, 2.1, 12, dtype=torch.float64)


def test_it_is_the_derivation_of_its_chapter():
    assert DERIVATION.name == "memory/lagrangian"
    assert DERIVATION.label("fenchel-young") == "lagrangian-fenchel-young"


@pytest.mark.parametrize("step_id", ["energy-rate", "fenchel-young", "softmax-hessian", "softmax-convex", "kullback-leibler", "spherical-convex", "gained-jacobian"])
def test_the_main_results_hold_for_every_size(step_id):
    assert DERIVATION[step_id].kind == "exact"
    assert DERIVATION.check(step_id).detail.startswith("residual 0; at random numbers")


def test_every_definition_is_used():
    used = {earlier for step in DERIVATION.steps for earlier in step.using}
    assert {step.id for step in DERIVATION.steps if step.kind == "definition"} <= used


@pytest.mark.parametrize(
    "f, symbol, lagrangian_id, activation_id",
    [
        (lagrangian("quadratic"), chapter.u, "quadratic-lagrangian", "quadratic"),
        (ReLU(), chapter.u, "relu-lagrangian", "relu"),
        (lagrangian("gelu"), chapter.u, "gelu-lagrangian", "gelu"),
        (Tanh(0.7), chapter.u, "tanh-lagrangian", "tanh"),
        (Softplus(0.7), chapter.u, "softplus-lagrangian", "softplus"),
        (lagrangian("exponential", inverse_temperature=0.7), chapter.u, "exponential-lagrangian", "exponential"),
        (Power(2.6, rectified=True), chapter.w, "power-lagrangian", "power"),
    ],
    ids=lambda value: getattr(value, "_get_name", lambda: "")() or None,
)
def test_elementwise_steps_are_what_the_code_computes(f, symbol, lagrangian_id, activation_id):
    x = X.abs() if symbol == chapter.w else X
    for step_id, code in ((lagrangian_id, f.potential), (activation_id, f.activation)):
        formula = DERIVATION[step_id].statement.rhs.subs({chapter.beta: 0.7, chapter.n: 2.6})
        expected = sp.lambdify(symbol, formula, ["scipy", "numpy"])(x.numpy())
        np.testing.assert_allclose(code(x).numpy(), expected, rtol=1e-12, atol=1e-15)


def entries_of(step_id, values):
    """The right side of a step for five units with these values, one number for each i."""
    rows = []
    for i in range(1, 6):
        expr = DERIVATION[step_id].statement.rhs.subs({chapter.i: i, chapter.N: 5, **values}).doit()
        rows.append(float(expr.subs({entry: float(X[int(entry.indices[0]) - 1]) for entry in expr.atoms(sp.Indexed)})))
    return np.array(rows)


def test_indexed_steps_are_what_the_code_computes():
    x = X[None, :5]
    softmax, spherical = lagrangian("softmax", inverse_temperature=0.7), Spherical(eps=0.1)
    np.testing.assert_allclose(softmax.activation(x)[0], entries_of("softmax", {chapter.beta: 0.7}), rtol=1e-13)
    assert float(softmax.value(x)) == pytest.approx(entries_of("softmax-lagrangian", {chapter.beta: 0.7})[0], rel=1e-13)
    radius = entries_of("radius", {chapter.epsilon: 0.1})[0]
    assert float(spherical.value(x)) == pytest.approx(radius, rel=1e-13)
    np.testing.assert_allclose(spherical.activation(x)[0], entries_of("spherical", {chapter.R: radius}), rtol=1e-13)


def test_gelu_constants_are_those_of_scipy():
    zero = float(DERIVATION["gelu-zero"].statement.rhs)

    def slope(u):
        return (1 + erf(u / np.sqrt(2))) / 2 + u * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)

    assert slope(zero - 1e-12) < 0 < slope(zero + 1e-12)
    assert zero == pytest.approx(figures.gelu_zero(), abs=1e-14)
    # One statement to more digits than anyone needs: the bisection knows its precision.
    assert abs(sp.N(chapter.gelu_zero_slope(40) - sp.Float(chapter.gelu_zero_slope(60), 60), 50)) < sp.Float("1e-38")
    assert float(DERIVATION["gelu-lowest-slope"].statement.rhs) == pytest.approx(slope(-np.sqrt(2)), abs=1e-15)
    assert float(DERIVATION["gelu-highest-slope"].statement.rhs) == pytest.approx(slope(np.sqrt(2)), abs=1e-15)


def test_the_table_has_every_entry_and_its_own_words():
    lines = table.registry_table().splitlines()
    assert set(table.ROWS) == set(LAGRANGIANS)
    assert len(lines) == 2 + len(LAGRANGIANS) and all(line.count("|") == 3 for line in lines)
    rows = {name: line for name, line in zip(LAGRANGIANS, lines[2:], strict=True)}
    for name, line in rows.items():
        assert line.startswith(f"| `{name}`<br>") and f"null directions: {lagrangian(name).null_directions}<br>" in line
        assert ("**not convex**" in line) == (not lagrangian(name).convex)
    assert r"\operatorname{erf}" in rows["gelu"] and r"\gamma N \rho" in rows["layer_norm"]


def test_the_table_demands_a_row_for_a_new_entry(monkeypatch):
    monkeypatch.setitem(LAGRANGIANS, "mine", LayerNorm)
    with pytest.raises(KeyError, match="mine"):
        table.registry_table()


def test_figures_show_what_they_say():
    panels = figures.elementwise().axes
    curvature = {line.get_label(): line.get_xydata() for line in panels[2].lines}
    below = curvature["GELU"][curvature["GELU"][:, 1] < 0]
    assert below[:, 0].max() == pytest.approx(figures.gelu_zero(), abs=0.02)
    for name in ("softplus", "tanh"):
        assert curvature[name][:, 1].min() > 0
    gaps = {line.get_label(): line.get_ydata() for line in figures.violation().axes[1].lines}
    assert gaps["$x=-0.6$"].min() < -0.5 and gaps["$x=-0.2$"].min() < -0.1
    assert gaps["$x=0$"].min() >= -1e-15
