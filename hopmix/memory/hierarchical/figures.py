"""The figures of the chapter: small memories in full, fast layers from an experiment's result (page: book/memory/hierarchical.md)."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure

from hopmix.experiment import Result
from hopmix.memory.hierarchical.examples import pair, ring, rotor
from hopmix.memory.plots import energy_landscape, landscape
from hopmix.plotting import COLOURS, PALETTE, band, figure, points, styled


@styled
def landscapes(angle: float = math.pi / 3, gain: float = 4.0) -> Figure:
    """Energy and flows of two visible neurons with fast hidden ones: above with tied weights, below with the echo turned by ``angle``."""
    fig, axes = figure(rows=2, height=4.4)
    along, across = torch.eye(2, dtype=torch.float64)
    starts = torch.tensor([[0.4, 0.1], [-0.3, 0.5], [-2.9, -0.6], [2.7, -2.9]], dtype=torch.float64)
    for ax, turned in zip(axes[:, 0], (0.0, angle), strict=True):
        memory = rotor(turned, gain)
        surface = landscape(memory.energy, torch.zeros(2, dtype=torch.float64), along, across, extent=3.2, size=81)
        _, paths = memory.flow(starts, 12.0, 600)
        energy_landscape(surface, paths, ax=ax, xlabel="first neuron $x_1$", ylabel="second neuron $x_2$")
        ax.set_title("symmetric synapses" if turned == 0 else f"echo turned by {math.degrees(turned):.0f}°")
    return fig


@styled
def guarantees() -> Figure:
    """What the energy and one neuron do in four small memories."""
    fig, axes = figure(rows=2, height=3.3)
    energy, state = axes[:, 0]
    one = torch.ones(1, 1, dtype=torch.float64)
    # kind: colour, line, memory, start
    cases = {
        "symmetric, bounded": (PALETTE["blue"], "-", rotor(0.0, 2.0), torch.tensor([[0.6, 0.2]], dtype=torch.float64)),
        "symmetric, unbounded": (PALETTE["red"], "--", pair(1.5), {"a": 0.8 * one, "b": -0.4 * one}),
        "antisymmetric": (PALETTE["green"], "-.", pair(3.0, -3.0), {"a": 2.0 * one, "b": 0.0 * one}),
        "ring": (PALETTE["orange"], ":", ring(-3.0, "tanh"), {"0": one, "1": -0.5 * one, "2": 0.1 * one}),
    }
    for name, (colour, line, memory, start) in cases.items():
        times, states = memory.flow(start, 10.0, 500)
        first = states[..., :1] if isinstance(states, torch.Tensor) else next(iter(states.values()))
        merged = states.flatten(0, 1) if isinstance(states, torch.Tensor) else {key: x.flatten(0, 1) for key, x in states.items()}
        energy.plot(times, memory.energy(merged), color=colour, linestyle=line, label=name)
        state.plot(times, first[:, 0, 0], color=colour, linestyle=line)
    energy.set(ylabel="energy", ylim=(-2.6, 2.6))
    state.set(xlabel=r"time $t/\tau$", ylabel="first neuron", ylim=(-4.2, 4.2))
    fig.legend(*energy.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


@styled
def fast_layers(result: Result) -> Figure:
    """Distance to the flow with eliminated layers, and to the one with the effective time constant, against theta."""
    fig, axes = figure(height=4.0)
    ax = axes[0, 0]
    thetas = np.array(result.config["fast_time_constants"])
    band(ax, thetas, [one["slope"] * thetas for one in result.trials], COLOURS["theory"], "predicted, first order")
    points(ax, thetas, [one["adiabatic"] for one in result.trials], COLOURS["eliminated"], "to the eliminated flow")
    corrected = np.array([one["corrected"] for one in result.trials])
    last = int(np.argmin(thetas))
    ax.plot(thetas, corrected.mean(0)[last] * (thetas / thetas[last]) ** 2, color=COLOURS["theory"], linestyle="--", label="slope 2")
    points(ax, thetas, corrected, COLOURS["corrected"], "to the corrected flow", marker="s")
    ax.set(xscale="log", yscale="log", xlabel=r"time constant $\theta$ of the fast layers", ylabel="distance of the visible state")
    ax.set_xticks(thetas, [f"{value:g}" for value in thetas], minor=False)
    ax.set_xticks([], minor=True)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


@styled
def costs(result: Result) -> Figure:
    """Velocities that a flow up to time 1 takes, with the fast layers in the state and without."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    thetas = np.array(result.config["stiff_time_constants"])
    for key, colour, label, marker in (
        ("cost_RK45", COLOURS["explicit"], "explicit, RK45", "o"),
        ("cost_BDF", COLOURS["implicit"], "implicit, BDF", "s"),
        ("cost_eliminated", COLOURS["eliminated"], "eliminated, RK45", "D"),
    ):
        curves = [one[key] for one in result.trials]
        ax.plot(thetas, np.mean(curves, axis=0), color=colour, linewidth=1)
        points(ax, thetas, curves, colour, label, marker=marker)
    ax.set(xscale="log", yscale="log", xlabel=r"time constant $\theta$ of the fast layers", ylabel="velocities evaluated")
    ax.legend()
    return fig
