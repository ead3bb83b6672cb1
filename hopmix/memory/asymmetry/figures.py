"""The figures of the chapter (page: book/memory/asymmetry.md)."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hopmix.arguments import number
from hopmix.experiment import Result
from hopmix.memory.asymmetry.clock import clock_flow
from hopmix.memory.asymmetry.ensemble import Ensemble
from hopmix.memory.asymmetry.experiment import ACTIVATIONS, KS
from hopmix.memory.asymmetry.spectrum import centred_basis, centred_operator
from hopmix.plotting import COLOURS, PALETTE, band, figure, points, styled

_NAMES = {"quadratic": "linear", "gelu": "GELU", "relu": "ReLU"}
_MARKERS = {"quadratic": "o", "gelu": "s", "relu": "^"}
_DEGREES = (0, 39, 43, 85)


def three_tokens(degrees: tuple[float, ...] = _DEGREES, activation: str = "quadratic", seed: int = 24) -> Ensemble:
    """One memory of three tokens and a single channel at several angles: its centred states fill a plane."""
    generator = torch.Generator().manual_seed(seed)
    forward, other = (torch.randn(1, 6, 3, generator=generator, dtype=torch.float64) / math.sqrt(3) for _ in range(2))
    turns = torch.tensor([math.radians(number("each of degrees", angle)) for angle in degrees], dtype=torch.float64)
    copies = (len(degrees), 1, 1)
    return Ensemble(forward.repeat(copies), other.repeat(copies), activation).turned(turns)


@styled
def sinks_to_cycle(degrees: tuple[float, ...] = _DEGREES, activation: str = "quadratic", seed: int = 24) -> Figure:
    """The flow of a memory of three tokens in the plane of its centred states, at four angles between feedback and transpose."""
    ensemble = three_tokens(degrees, activation, seed)
    fig, axes = figure(rows=(len(degrees) + 1) // 2, columns=2, width=3.1, height=3.3)
    for place, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if place < len(degrees):
            _flow_field(ax, ensemble, place)
            ax.set_title(f"{degrees[place]:g}°", fontsize=17)
    return fig


def _flow_field(ax: Axes, ensemble: Ensemble, place: int) -> None:
    memory, basis = ensemble.memory(place), centred_basis(3, ensemble.forward)
    single = ensemble.select([place])
    # Where the activations go in the end: run from a ring of states, and from it find the size of the picture.
    turns = torch.linspace(0, 2 * math.pi, 13, dtype=torch.float64)[:-1]
    ring = torch.stack([turns.cos(), turns.sin()], 1) @ basis.T
    many = Ensemble(single.forward.repeat(12, 1, 1), single.feedback.repeat(12, 1, 1), single.hidden)
    _, settled = clock_flow(many, ring, 400.0, 400)
    _, visited = clock_flow(many, settled[-1], 400.0, 800)
    last = (visited @ basis).numpy()  # (points, 12, 2)
    reach = 1.75 * np.abs(last).max()
    grid = torch.linspace(-reach, reach, 60, dtype=torch.float64)
    across, up = torch.meshgrid(grid, grid, indexing="xy")
    plane = torch.stack([across, up], -1).reshape(-1, 2)
    flow = (memory.velocity(plane @ basis.T) @ basis).reshape(60, 60, 2).numpy()
    ax.streamplot(grid.numpy(), grid.numpy(), flow[..., 0], flow[..., 1], color="#9aa7b0", linewidth=0.8, density=0.9, arrowsize=0.9)
    moving = np.linalg.norm(last[-1] - last[0], axis=1).max() > 1e-3 * reach
    if moving:
        ax.plot(*last[:, 0].T, color=COLOURS["asymmetric"], linewidth=3.5)
        for one in (0, 1):  # an arrow on the cycle, and one across from it
            here = last[np.argmax((1 - 2 * one) * last[:, 0, 0]) :, 0][:6]
            ax.annotate("", here[-1], here[0], arrowprops={"arrowstyle": "-|>", "color": COLOURS["asymmetric"], "mutation_scale": 30})
    else:
        ax.plot(*last[-1].T, "o", color=COLOURS["symmetric"], markersize=11)
        for saddle in _saddles(single):
            ax.plot(*saddle, "o", color=COLOURS["symmetric"], markersize=10, markerfacecolor="white", markeredgewidth=2)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def _saddles(single: Ensemble) -> np.ndarray:
    """The fixed points of a linear network on the eigenvector of the other eigenvalue, in the plane: gain * eigenvalue * sqrt(N) long."""
    values, vectors = np.linalg.eig(centred_operator(single)[0].numpy())
    if single.hidden.__class__.__name__ != "Quadratic" or np.iscomplexobj(values) or values.min() <= 0:
        return np.empty((0, 2))
    length = single.gain * values.min() * math.sqrt(single.visible)
    return np.array([sign * length * vectors[:, values.argmin()] for sign in (1, -1)])


@styled
def phase_diagram(result: Result) -> Figure:
    """Above: the share of networks that oscillate, by the angle; below: the share that the classifier leaves undecided."""
    fig, axes = figure(rows=2, height=3.2)
    share, undecided = axes[:, 0]
    degrees = _degrees(result)
    band(share, degrees, [one["theory_oscillating"] for one in result.trials], COLOURS["theory"], "linear: eigenvalues")
    for name in ACTIVATIONS:
        style = {"colour": COLOURS[name], "marker": _MARKERS[name]}
        points(share, degrees, [one[f"{name}_oscillating"] for one in result.trials], label=f"{_NAMES[name]}: simulated", **style)
        points(undecided, degrees, [one[f"{name}_undecided"] for one in result.trials], label=_NAMES[name], **style)
    share.set(ylabel="share oscillating", ylim=(-0.03, 0.75))
    share.legend(loc="upper left")
    undecided.set(xlabel="angle of the feedback (degrees)", ylabel="share undecided", ylim=(-0.01, 0.2))
    undecided.legend(loc="upper left")
    return fig


@styled
def spectra_by_size(result: Result) -> Figure:
    """What the eigenvalues say for networks of several sizes."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    sizes = result.config["sizes"]
    colours = [PALETTE[name] for name in ("sky", "green", "blue", "pink", "black", "orange")]
    for place, tokens in enumerate(sizes):
        band(ax, _degrees(result), [one["spectra"][place] for one in result.trials], colours[place % len(colours)], f"$S=C={tokens}$")
    ax.set(xlabel="angle of the feedback (degrees)", ylabel="share oscillating")
    ax.legend()
    return fig


@styled
def frequencies(result: Result) -> Figure:
    """Simulated frequencies of the cycles of linear networks against w / a."""
    fig, axes = figure(height=4.2)
    ax = axes[0, 0]
    theory, simulated = (np.concatenate([one[f"frequency_{name}"] for one in result.trials]) for name in ("theory", "simulated"))
    ends = np.array([theory.min(), theory.max()]) if len(theory) else np.array([0.1, 1.0])
    ax.plot(ends, ends, color=COLOURS["theory"], label="$w/a$")
    ax.plot(theory, simulated, "o", color=COLOURS["quadratic"], alpha=0.6, label="simulated, one network each")
    ax.set(xscale="log", yscale="log", xlabel=r"$w/a$ (radians per $\tau_v$)", ylabel=r"frequency (radians per $\tau_v$)")
    ax.legend()
    return fig


@styled
def gelu_between(result: Result) -> Figure:
    """GELU at a right angle, by the gain of LayerNorm, between the linear networks and ReLU's."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    gains = result.config["gains"]
    for name in ("quadratic", "relu"):
        last = [[one[f"{name}_oscillating"][-1]] * len(gains) for one in result.trials]
        band(ax, gains, last, COLOURS[name], _NAMES[name])
    points(ax, gains, [one["gain_oscillating"] for one in result.trials], COLOURS["gelu"], "GELU", marker=_MARKERS["gelu"])
    ax.set(xscale="log", xlabel=r"gain $\gamma$ of LayerNorm", ylabel="share oscillating")
    ax.legend()
    return fig


@styled
def rising(result: Result) -> Figure:
    """The share of networks whose pseudo-energy rises, against time, for four members of the family."""
    fig, axes = figure(height=3.8)
    ax = axes[0, 0]
    times = np.array(result.trials[0]["rising_times"])
    for place, (k, colour) in enumerate(zip(KS, ("red", "orange", "blue", "green"), strict=True)):
        band(ax, times, [one["rising"][place] for one in result.trials], PALETTE[colour], f"$k={k:g}$")
    ax.set(xlabel=r"time $t/\tau_v$", ylabel=r"share of networks with $\dot E_k>0$")
    ax.legend()
    return fig


def _degrees(result: Result) -> np.ndarray:
    return np.linspace(0, 90, result.config["angles"])
