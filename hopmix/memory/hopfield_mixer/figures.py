"""The figures of the chapter, each from an experiment's result alone (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from hopmix.experiment import Result
from hopmix.plotting import COLOURS, band, figure, points, styled


@styled
def energy_along_flow(result: Result) -> Figure:
    """The energy of simulated flows (points) on the curve that the exact rate predicts: one starting value, then the rate integrated."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    times = np.array(result.trials[0]["times"])
    shown = slice(None, None, max(1, len(times) // 14))
    band(ax, times, [t["energy_from_rate"] for t in result.trials], COLOURS["theory"], "rate, integrated")
    points(ax, times[shown], [t["energy"][shown] for t in result.trials], COLOURS["memory"], "energy, simulated")
    ax.set(xlabel=r"time $t/\tau_v$", ylabel="energy per visible neuron")
    ax.legend()
    return fig


@styled
def fast_limit(result: Result) -> Figure:
    """Distance between the memory with hidden time constant theta and the adiabatic one, with a line of slope one."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    time_constants = np.array(result.config["hidden_time_constants"])
    errors = np.array([t["fast_errors"] for t in result.trials])
    last = int(np.argmin(time_constants))
    ax.plot(time_constants, errors.mean(0)[last] * time_constants / time_constants[last], color=COLOURS["theory"], linestyle="--", label="slope 1")
    points(ax, time_constants, errors, COLOURS["memory"], "simulated")
    ax.set(xscale="log", yscale="log", xlabel=r"hidden time constant $\theta/\tau_v$", ylabel="relative distance")
    ax.set_xticks(time_constants, [f"{value:g}" for value in time_constants], minor=False)
    ax.set_xticks([], minor=True)
    ax.legend()
    return fig


@styled
def leak_as_gauge(result: Result) -> Figure:
    """Above, the length of the state with and without leak; below, the energies of both, which coincide."""
    fig, axes = figure(rows=2, height=3.0)
    length, energy = axes[:, 0]
    blocks = np.arange(len(result.trials[0]["skip_radius"]))
    shown = slice(None, None, max(1, len(blocks) // 12))
    band(length, blocks, [t["skip_radius"] for t in result.trials], COLOURS["skip"], "skip connection, no leak")
    points(length, blocks[shown], [t["leaky_radius"][shown] for t in result.trials], COLOURS["leaky"], "leak, shrinking steps")
    length.set(ylabel="length of the state", yscale="log")
    length.legend()
    band(energy, blocks, [t["skip_energy"] for t in result.trials], COLOURS["skip"], "skip connection, no leak")
    points(energy, blocks[shown], [t["leaky_energy"][shown] for t in result.trials], COLOURS["leaky"], "leak, shrinking steps")
    energy.set(xlabel="block", ylabel="energy per neuron")
    return fig


@styled
def correspondence() -> Figure:
    """The picture of the chapter: on the left three layers joined by symmetric synapses, on the right the block that is one step of it."""
    fig, axes = figure(rows=1, columns=2, width=4.6, height=4.4)
    for ax in axes[0]:
        ax.set(xlim=(0, 10), ylim=(0, 10))
        ax.set_axis_off()
    _draw_memory(axes[0, 0])
    _draw_block(axes[0, 1])
    return fig


def _draw_memory(ax) -> None:
    ax.set_title("associative memory", fontsize=16)
    _grid(ax, 3.3, 0.9, rows=4, columns=5, colour=COLOURS["memory"])
    ax.text(5.0, 0.0, r"visible $x$:  $S \times C$", ha="center", va="bottom", fontsize=14)
    _grid(ax, 0.2, 6.6, rows=3, columns=5, colour=COLOURS["tokens"])
    ax.text(1.9, 9.0, r"token memory: $N_s \times C$", ha="center", va="bottom", fontsize=13)
    _grid(ax, 6.3, 6.0, rows=4, columns=4, colour=COLOURS["channels"])
    ax.text(7.7, 9.0, r"channel memory: $S \times N_c$", ha="center", va="bottom", fontsize=13)
    for start, end, symbol, place, colour in (
        ((4.2, 3.9), (2.2, 6.4), "$W$", (1.9, 5.0), COLOURS["tokens"]),
        ((5.8, 3.9), (7.4, 5.8), "$V$", (7.3, 4.5), COLOURS["channels"]),
    ):
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="<|-|>", mutation_scale=20, linewidth=2.5, color=colour))
        ax.text(*place, symbol, fontsize=17, ha="center", va="center", color=colour)


def _grid(ax, left: float, bottom: float, rows: int, columns: int, colour: str) -> None:
    size = 0.68
    for row in range(rows):
        for column in range(columns):
            ax.add_patch(Rectangle((left + column * size, bottom + row * size), size, size, facecolor=colour, alpha=0.35, edgecolor="white", linewidth=1.5))
    ax.add_patch(Rectangle((left, bottom), columns * size, rows * size, fill=False, edgecolor=colour, linewidth=2))


def _draw_block(ax) -> None:
    ax.set_title("one step = one Mixer block", fontsize=16)
    boxes = (
        (5.0, 2.4, 3.6, "LayerNorm", COLOURS["memory"]),
        (2.4, 5.4, 4.4, "token mixing\n" + r"$W^\top f(W g)$", COLOURS["tokens"]),
        (7.6, 5.4, 4.4, "channel mixing\n" + r"$f(g V^\top)\, V$", COLOURS["channels"]),
    )
    for x, y, width, text, colour in boxes:
        height = 1.2 if "\n" not in text else 1.9
        ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0.05,rounding_size=0.25", facecolor=colour, alpha=0.25, edgecolor="none"))
        ax.text(x, y, text, ha="center", va="center", fontsize=14)
    ax.text(5.0, 0.0, "$y$", fontsize=17, ha="center", va="bottom")
    ax.text(5.0, 9.75, "$y + F$", fontsize=15, ha="center", va="top")
    ax.text(5.0, 8.3, "+", fontsize=20, ha="center", va="center", bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black"})
    ax.text(5.0, 3.7, "$g$", fontsize=16, ha="center", va="center")
    arrows = (
        ((5.0, 0.9), (5.0, 1.7)), ((4.6, 3.1), (2.6, 4.35)), ((5.4, 3.1), (7.4, 4.35)),
        ((2.6, 6.45), (4.4, 8.1)), ((7.4, 6.45), (5.6, 8.1)), ((5.0, 8.85), (5.0, 9.2)),
    )  # fmt: skip
    for start, end in arrows:
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, linewidth=1.8, color="black", shrinkA=0, shrinkB=0))
    ax.plot([5.0, 0.05, 0.05], [1.2, 1.2, 8.3], color="black", linewidth=1.8)
    ax.add_patch(FancyArrowPatch((0.05, 8.3), (4.35, 8.3), arrowstyle="-|>", mutation_scale=16, linewidth=1.8, color="black", shrinkA=0, shrinkB=0))
