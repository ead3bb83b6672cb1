"""The figures of the chapter, each from an experiment's result alone (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

from itertools import product

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
    length.set(ylabel="rms of the state", yscale="log")
    length.legend()
    band(energy, blocks, [t["skip_energy"] for t in result.trials], COLOURS["skip"], "skip connection, no leak")
    points(energy, blocks[shown], [t["leaky_energy"][shown] for t in result.trials], COLOURS["leaky"], "leak, shrinking steps")
    energy.set(xlabel="block", ylabel="energy per neuron")
    return fig


@styled
def correspondence() -> Figure:
    """The picture of the chapter: on the left three layers joined by symmetric synapses, on the right the block that is one step of it."""
    fig, axes = figure(rows=1, columns=2, width=4.2, height=4.5)
    for ax, title in zip(axes[0], ("an associative memory", "one step of it"), strict=True):
        ax.set(xlim=(0, 10), ylim=(0, 10.6))
        ax.set_axis_off()
        ax.set_title(title, fontsize=_TEXT)
    _draw_memory(axes[0, 0])
    _draw_block(axes[0, 1])
    return fig


# Large, because a phone shows both panels beside each other.
_TEXT = 19


def _draw_memory(ax) -> None:
    _grid(ax, 3.3, 1.1, rows=4, columns=5, colour=COLOURS["memory"])
    ax.text(5.0, 0.0, r"visible $x$: $S \times C$", ha="center", va="bottom", fontsize=_TEXT)
    _grid(ax, 0.6, 6.6, rows=3, columns=5, colour=COLOURS["tokens"])
    ax.text(2.3, 9.0, "tokens\n" + r"$N_s \times C$", ha="center", va="bottom", fontsize=_TEXT, linespacing=1.1)
    _grid(ax, 6.3, 6.0, rows=4, columns=4, colour=COLOURS["channels"])
    ax.text(7.7, 9.0, "channels\n" + r"$S \times N_c$", ha="center", va="bottom", fontsize=_TEXT, linespacing=1.1)
    for start, end, symbol, place, colour in (
        ((4.2, 4.1), (2.4, 6.4), "$W$", (2.2, 5.1), COLOURS["tokens"]),
        ((5.8, 4.1), (7.4, 5.8), "$V$", (7.5, 4.6), COLOURS["channels"]),
    ):
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="<|-|>", mutation_scale=24, linewidth=3, color=colour))
        ax.text(*place, symbol, fontsize=_TEXT + 4, ha="center", va="center", color=colour)


def _grid(ax, left: float, bottom: float, rows: int, columns: int, colour: str) -> None:
    size = 0.68
    for row, column in product(range(rows), range(columns)):
        corner = (left + column * size, bottom + row * size)
        ax.add_patch(Rectangle(corner, size, size, facecolor=colour, alpha=0.35, edgecolor="white", linewidth=1.5))
    ax.add_patch(Rectangle((left, bottom), columns * size, rows * size, fill=False, edgecolor=colour, linewidth=2))


def _draw_block(ax) -> None:
    for x, y, width, height, text, colour in (
        (5.2, 2.5, 4.6, 1.2, "LayerNorm", COLOURS["memory"]),
        (2.9, 5.7, 4.3, 2.2, "tokens\n" + r"$W^\top\! f(W g)$", COLOURS["tokens"]),
        (7.7, 5.7, 4.3, 2.2, "channels\n" + r"$f(g V^\top) V$", COLOURS["channels"]),
    ):
        corner, shape = (x - width / 2, y - height / 2), "round,pad=0.05,rounding_size=0.25"
        ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, facecolor=colour, alpha=0.25, edgecolor="none"))
        ax.text(x, y, text, ha="center", va="center", fontsize=_TEXT)
    ring = {"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": "black"}
    ax.text(5.2, 8.6, "+", fontsize=_TEXT, ha="center", va="center", bbox=ring)
    ax.text(5.2, -0.1, "$y$", fontsize=_TEXT, ha="center", va="bottom")
    ax.text(5.7, 10.0, "$y + F$", fontsize=_TEXT, ha="left", va="center")
    ax.text(5.2, 3.95, "$g$", fontsize=_TEXT, ha="center", va="center")
    for path in (
        [(5.2, 0.75), (5.2, 1.75)], [(4.7, 3.2), (3.1, 4.45)], [(5.7, 3.2), (7.5, 4.45)],
        [(3.1, 6.95), (4.6, 8.25)], [(7.5, 6.95), (5.8, 8.25)], [(5.2, 9.2), (5.2, 10.4)],
        [(5.2, 1.2), (0.2, 1.2), (0.2, 8.6), (4.55, 8.6)],
    ):  # fmt: skip
        *corners, last = path
        ax.plot(*zip(*corners, strict=True), color="black", linewidth=2)
        ax.add_patch(FancyArrowPatch(corners[-1], last, arrowstyle="-|>", mutation_scale=18, linewidth=2, color="black", shrinkA=0, shrinkB=0))
