"""The figures of the chapter, each from an experiment's result (page: book/memory/descent.md)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hopmix.experiment import Result
from hopmix.memory.descent.bound import descent_bound, largest_safe_step
from hopmix.memory.descent.sharpness import sharp_memory
from hopmix.plotting import COLOURS, band, figure, points, styled


def _of_kind(result: Result, kind: str) -> list[dict]:
    return [one for one in result.trials if one["kind"] == kind]


@styled
def change_against_safety(result: Result) -> Figure:
    """The change of the energy, in units of the most that concavity can give, against the safety of the step; the theorem is a line."""
    fig, axes = figure(height=3.8)
    ax = axes[0, 0]
    networks = _of_kind(result, "networks")
    safety = np.concatenate([one["shown_safety"] for one in networks])
    change = np.concatenate([one["shown_change"] for one in networks])
    ax.plot(safety, change, ".", color=COLOURS["memory"], alpha=0.35, markersize=4, rasterized=True)
    ax.plot([], [], "o", color=COLOURS["memory"], label="random networks")  # a point of the cloud cannot be seen in a legend
    line = np.array([0.0, 3.0])
    ax.plot(line, 1 - line, color=COLOURS["theory"], label="theorem: at most this")
    memory, x = sharp_memory(0.01)
    safe = float(largest_safe_step(memory, x))
    found = [descent_bound(memory, x, safe * factor) for factor in (0.5, 0.6, 0.75, 0.9, 1.1, 1.4, 2.0)]
    shown = [float(one.safety) for one in found]
    units = [float(one.change / (one.bound / (1 - one.safety))) for one in found]
    ax.plot(shown, units, "D", color=COLOURS["mixer"], label="sharp memory")
    ax.axhline(0, color="0.6", linewidth=1)
    ax.axvline(1, color="0.35", linewidth=1.5, linestyle=":")
    ax.set(xlim=(0, 2.5), ylim=(-4, 1.3), xlabel="safety of the step", ylabel="change of the energy")
    ax.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
    return fig


@styled
def rises(result: Result) -> Figure:
    """Share of steps that raise the energy, against the step size: above with skip connection, below with leak."""
    fig, axes = figure(rows=2, height=3.0)
    networks = _of_kind(result, "networks")
    for ax, form in zip(axes[:, 0], ("skip", "leak"), strict=True):
        steps = result.config["skip_steps" if form == "skip" else "leaky_steps"]
        for case, colour, marker, label in (
            ("tiny joint gelu", COLOURS["memory"], "o", "GELU, 3 neurons"),
            ("small joint gelu", COLOURS["tokens"], "s", "GELU, 24 neurons"),
            ("tiny joint relu", COLOURS["mixer"], "x", "ReLU, 3 neurons"),
        ):
            points(ax, steps, [100 * np.array(one["rises"][f"{case} {form}"]) for one in networks], colour, label, marker)
        name = "skip connection" if form == "skip" else "leak"
        ax.set(ylabel="rises in %", xlabel=f"step size $h$, {name}")
    axes[0, 0].set(xscale="log")
    axes[0, 0].legend()
    return fig


@styled
def energy_along_blocks(result: Result) -> Figure:
    """Trained Mixers with one shared block: above the energy of test images block by block, below the safety of each block."""
    fig, axes = figure(rows=2, height=3.4)
    energy, safety = axes[:, 0]
    mixers = [one["all"] for one in _of_kind(result, "mixer")]
    blocks = np.arange(len(mixers[0]["after"]["measured"]))
    for when, colour, name in (("before", COLOURS["skip"], "untrained"), ("after", COLOURS["memory"], "trained")):
        band(energy, blocks, [one[when]["terms"] for one in mixers], COLOURS["theory"], "exact terms" if when == "after" else "_")
        points(energy, blocks, [one[when]["measured"] for one in mixers], colour, name, "s" if when == "before" else "o")
        points(safety, blocks[1:], [one[when]["safety"] for one in mixers], colour, name, "s" if when == "before" else "o")
    mean = np.mean([one["after"]["bound"] for one in mixers], axis=0)
    energy.plot(blocks, mean, color=COLOURS["memory"], linestyle="--", label="bound, trained")
    energy.set(xlabel="block", ylabel="energy per neuron")
    energy.legend()
    safety.axhline(1, color=COLOURS["theory"], linestyle=":", label="condition of the theorem")
    safety.set(xlabel="block", ylabel="safety", yscale="log", ylim=(0.45, 150))
    safety.set_yticks([0.5, 1, 2, 5, 10, 20, 50, 100], ["0.5", "1", "2", "5", "10", "20", "50", "100"])
    safety.minorticks_off()
    energy.set_xticks(blocks)
    safety.set_xticks(blocks[1:])
    safety.legend(loc="upper left")
    return fig


@styled
def unshared(result: Result) -> Figure:
    """Trained Mixers with weights of their own in each block: the energy of the first block along the network, and what each block does to its own."""
    fig, axes = figure(height=3.4)
    ax = axes[0, 0]
    mixers = [one["none"]["after"] for one in _of_kind(result, "mixer")]
    blocks = np.arange(len(mixers[0]["measured"]))
    own = [np.diff(one["terms"]) for one in mixers]
    points(ax, blocks[1:], own, COLOURS["memory"], "each block's own energy")
    points(ax, blocks[1:], [np.diff(one["measured"]) for one in mixers], COLOURS["mixer"], "first block's energy", "s")
    ax.axhline(0, color="0.6", linewidth=1)
    ax.set(xlabel="block", ylabel="change per neuron")
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set_xticks(blocks[1:])
    ax.legend()
    return fig
