"""The figures of the chapter, computed when they are drawn (page: book/memory/lagrangian.md)."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import brentq

from hopmix.memory.lagrangian.gelu import GELU
from hopmix.memory.lagrangian.registry import lagrangian
from hopmix.plotting import COLOURS, figure, styled

_STYLES = {"gelu": "-", "relu": "--", "softplus": "-.", "tanh": ":"}


def _column(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)[:, None]


def gelu_zero() -> float:
    """Where GELU's slope vanishes, by Brent's method between -1 and -1/2."""
    return brentq(lambda u: float(GELU().curvature(torch.tensor(u, dtype=torch.float64))), -1.0, -0.5, xtol=1e-15)


@styled
def elementwise() -> Figure:
    """Four elementwise Lagrangians, their activations and their curvatures; where GELU's curvature is negative it is shaded."""
    fig, axes = figure(rows=3, height=2.7)
    u = np.linspace(-3.5, 2.5, 601)
    for ax, quantity, label in zip(axes[:, 0], ("potential", "activation", "curvature"), (r"Lagrangian $\Phi(u)$", r"activation $\Phi'(u)$", r"curvature $\Phi''(u)$"), strict=True):
        ax.axvspan(u[0], gelu_zero(), color=COLOURS["gelu"], alpha=0.1, linewidth=0)
        for name, style in _STYLES.items():
            values = getattr(lagrangian(name), quantity)(_column(u))[:, 0].numpy()
            if quantity == "curvature" and name == "relu":
                values[np.abs(u) < 5e-3] = np.nan  # a jump, not a steep line
            ax.plot(u, values, style, color=COLOURS[name], label={"gelu": "GELU", "relu": "ReLU"}.get(name, name))
        ax.axhline(0, color="black", linewidth=0.7)
        ax.set(ylabel=label, xlim=(u[0], u[-1]))
    axes[0, 0].set_ylim(-0.1, 1.8)
    axes[1, 0].set_ylim(-1.15, 1.8)
    axes[2, 0].set(xlabel="state $u$ of one unit", ylim=(-0.25, 1.25))
    axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes[0, 0].text(u[0] + 0.1, 0.62, "GELU:\nconcave", color=COLOURS["gelu"], fontsize=12)
    return fig


@styled
def violation(state: float = -0.6) -> Figure:
    """Above, GELU's Lagrangian, the tangent at one negative state and the largest convex function below. Below, the gap between Lagrangian
    and tangent at several states (lines), with the straight line that each approaches on the left (dashes)."""
    fig, axes = figure(rows=2, height=3.3)
    _tangent(axes[0, 0], np.linspace(-4, 2, 601), state)
    _gaps(axes[1, 0], np.linspace(-8, 2, 601))
    return fig


def _tangent(ax: Axes, y: np.ndarray, state: float) -> None:
    f, x = GELU(), torch.tensor([[state]], dtype=torch.float64)
    curve = f.potential(_column(y))[:, 0].numpy()
    tangent = float(f.value(x)) + float(f.activation(x)) * (y - state)
    ax.fill_between(y, curve, tangent, where=tangent > curve, color=COLOURS["gelu"], alpha=0.25, linewidth=0)
    ax.plot(y, curve, color=COLOURS["gelu"], label=r"GELU's $\Phi_G$")
    ax.plot(y, tangent, "--", color=COLOURS["theory"], linewidth=1.5, label=f"tangent at $x={state:g}$")
    ax.plot(y, f.potential(_column(np.maximum(y, 0)))[:, 0].numpy(), ":", color=COLOURS["memory"], linewidth=3, label="largest convex below")
    ax.plot([state], [float(f.value(x))], "o", color=COLOURS["theory"])
    ax.set(ylabel="Lagrangian at $y$", xlim=(y[0], y[-1]), ylim=(-0.15, 0.75))
    ax.legend(loc="upper center")


def _gaps(ax: Axes, y: np.ndarray) -> None:
    f = GELU()
    # One model, one colour: the states differ in the kind of line.
    for state, style in ((-0.6, "-"), (-0.2, ":"), (0.0, "-.")):
        x = _column(np.full(len(y), state))
        gap = f.divergence(_column(y), x).numpy()
        ax.plot(y, gap, linestyle=style, color=COLOURS["gelu"], label=f"$x={state:g}$")
        asymptote = 0.25 - f.potential(x)[:, 0].numpy() - f.activation(x)[:, 0].numpy() * (y - state)
        left = y < -2.5
        ax.plot(y[left], asymptote[left], "--", color=COLOURS["theory"], linewidth=1)
    ax.axhspan(-2, 0, color=COLOURS["gelu"], alpha=0.08, linewidth=0)
    ax.axhline(0, color="black", linewidth=0.7)
    ax.text(0.95, -0.55, "violated", color=COLOURS["gelu"], ha="center")
    ax.set(xlabel="other state $y$", ylabel="gap", xlim=(y[0], y[-1]), ylim=(-1.1, 0.9))
    ax.legend(loc="upper center", ncols=2)
