"""The figures of the chapter (page: book/mixers/blocks.md)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from hopmix.experiment import Result
from hopmix.mixers.blocks.experiment import KINDS, TRAINED
from hopmix.plotting import COLOURS, band, figure, points, standard_error, styled

_LABELS = {"vanilla": "Mixer (vanilla)", "paramixer": "ParaMixer", "symmixer": "SymMixer", "asymmixer": "AsymMixer", "signedmixer": "signed"}
_MARKERS = {"paramixer": "o", "symmixer": "s", "asymmixer": "^", "signedmixer": "D"}


@styled
def small_steps(result: Result) -> Figure:
    """Serial less parallel step: its size for a ParaMixer, with the leading term of theory; the ratio of both, for all kinds."""
    fig, axes = figure(rows=2, height=3.6)
    size, ratio = axes[:, 0]
    steps = 0.5 ** np.arange(result.config["halvings"] + 1)
    band(size, steps, [trial["paramixer_leading"] for trial in result.trials], COLOURS["theory"], r"theory, $h^2|DG\,F|$")
    points(size, steps, [trial["paramixer_difference"] for trial in result.trials], COLOURS["paramixer"], _LABELS["paramixer"])
    size.set(xscale="log", yscale="log", ylabel="serial $-$ parallel,\nrelative to $F+G$")
    size.legend()
    ratio.axhline(1, color=COLOURS["theory"], label="theory")
    for kind in KINDS:
        ratios = [np.divide(trial[f"{kind}_difference"], trial[f"{kind}_leading"]) for trial in result.trials]
        points(ratio, steps, ratios, COLOURS[kind], _LABELS[kind], _MARKERS[kind])
    ratio.set(xscale="log", xlabel="step size $h$", ylabel="serial $-$ parallel,\nover $h^2|DG\\,F|$")
    ratio.legend(loc="lower left")
    return fig


@styled
def many_blocks(result: Result) -> Figure:
    """Networks of L blocks with step 1/L, serial less parallel, and the first variation of the flow over L."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    depths = result.config["depths"]
    band(ax, depths, [trial["deep_leading"] for trial in result.trials], COLOURS["theory"], "theory, first variation / $L$")
    points(ax, depths, [trial["deep_difference"] for trial in result.trials], COLOURS["paramixer"], _LABELS["paramixer"])
    ax.set(xscale="log", yscale="log", xlabel="number of blocks $L$, each with step $1/L$", ylabel="serial $-$ parallel,\nrelative to the path")
    ax.set_xticks(depths, [str(depth) for depth in depths], minor=False)
    ax.set_xticks([], minor=True)
    ax.legend()
    return fig


@styled
def swapped_order(result: Result) -> Figure:
    """Accuracies of trained models in their own order and in the other one: every seed, and the mean with its standard error."""
    fig, axes = figure(height=3.8)
    ax = axes[0, 0]
    ticks, names = [], []
    for position, kind in enumerate(TRAINED):
        other = {"parallel": "serial", "serial": "parallel"}[TRAINED[kind]]
        values = 100 * np.array([[trial[f"{kind}_accuracy"], trial[f"{kind}_swapped_accuracy"]] for trial in result.trials])
        places = 2.2 * position + np.array([0.0, 1.0])
        ax.plot(places, values.T, color=COLOURS[kind], alpha=0.3, linewidth=1)
        ax.errorbar(places, values.mean(0), yerr=standard_error(values), color=COLOURS[kind], marker="o", capsize=4)
        ax.text(places.mean(), 103, _LABELS[kind], ha="center", va="bottom")
        ticks += list(places)
        names += [f"{TRAINED[kind]}\n(trained)", f"{other}\n(swapped)"]
    ax.axhline(10, color=COLOURS["theory"], linestyle=":")
    ax.text(1.6, 11, "chance", ha="center", va="bottom")
    ax.set_xticks(ticks, names)
    ax.set(ylim=(0, 112), xlim=(-0.5, 3.7), ylabel="test accuracy, per cent", xlabel="order in which the blocks are run")
    ax.set_yticks(range(0, 101, 20))
    return fig


# Large, because a phone shows two panels beside each other.
_TEXT = 19


@styled
def four_blocks() -> Figure:
    """The picture of the chapter: the four blocks, with the two branches and their weights."""
    fig, axes = figure(rows=2, columns=2, width=4.2, height=4.7)
    panels = (
        ("vanilla", "$O^T f(W g)$", "$f(g V^T)\\, Q$"),
        ("paramixer", "$O^T f(W g)$", "$f(g V^T)\\, Q$"),
        ("symmixer", "$W^T f(W g)$", "$f(g V^T)\\, V$"),
        ("asymmixer", "$(W{+}D^s)^T f(W g)$", "$f(g V^T) (V{+}D^c)$"),
    )
    for ax, (kind, tokens, channels) in zip(axes.flat, panels, strict=True):
        ax.set(xlim=(0, 10), ylim=(0, 11.4))
        ax.set_axis_off()
        ax.set_title(_LABELS[kind], fontsize=_TEXT + 1)
        (_serial if kind == "vanilla" else _parallel)(ax, tokens, channels)
    return fig


def _box(ax, x: float, y: float, width: float, height: float, text: str, colour: str, size: int = _TEXT) -> None:
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.05,rounding_size=0.25", facecolor=COLOURS[colour], alpha=0.25, edgecolor="none"))
    ax.text(x, y, text, ha="center", va="center", fontsize=size)


def _plus(ax, x: float, y: float) -> None:
    ring = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": "black"}
    ax.text(x, y, "+", fontsize=_TEXT - 2, ha="center", va="center", bbox=ring)


def _arrow(ax, *path: tuple[float, float]) -> None:
    *corners, last = path
    ax.plot(*zip(*corners, strict=True), color="black", linewidth=2)
    ax.add_patch(FancyArrowPatch(corners[-1], last, arrowstyle="-|>", mutation_scale=16, linewidth=2, color="black", shrinkA=0, shrinkB=0))


def _serial(ax, tokens: str, channels: str) -> None:
    ax.text(6.2, 0, "$x$", fontsize=_TEXT, ha="center", va="bottom")
    for bottom, text, colour in ((0.8, tokens, "tokens"), (5.85, channels, "channels")):
        _arrow(ax, (6.2, bottom), (6.2, bottom + 0.7))
        _box(ax, 6.2, bottom + 1.15, 3.2, 0.9, "norm", "memory")
        _arrow(ax, (6.2, bottom + 1.65), (6.2, bottom + 2.3))
        _box(ax, 6.2, bottom + 2.9, 6.6, 1.2, text, colour)
        _arrow(ax, (6.2, bottom + 3.55), (6.2, bottom + 4.15))
        _plus(ax, 6.2, bottom + 4.55)
        _arrow(ax, (6.2, bottom + 0.35), (1.4, bottom + 0.35), (1.4, bottom + 4.55), (5.6, bottom + 4.55))
    _arrow(ax, (6.2, 10.9), (6.2, 11.4))


def _parallel(ax, tokens: str, channels: str) -> None:
    ax.text(5.2, 0, "$x$", fontsize=_TEXT, ha="center", va="bottom")
    _arrow(ax, (5.2, 0.9), (5.2, 1.9))
    _box(ax, 5.2, 2.4, 3.2, 0.9, "norm", "memory")
    # One above the other, so that the formulas have room; both read g.
    for y, text, colour in ((5.0, tokens, "tokens"), (7.4, channels, "channels")):
        _box(ax, 5.2, y, 6.2, 1.3, text, colour)
    _arrow(ax, (5.2, 2.9), (5.2, 4.3))
    _arrow(ax, (5.2, 3.5), (9.3, 3.5), (9.3, 7.4), (8.4, 7.4))
    ax.text(5.6, 3.9, "$g$", fontsize=_TEXT, ha="left", va="center")
    _plus(ax, 5.2, 9.75)
    _arrow(ax, (5.2, 8.1), (5.2, 9.3))
    _arrow(ax, (2.05, 5.0), (1.5, 5.0), (1.5, 9.5), (4.7, 9.5))
    _arrow(ax, (5.2, 1.35), (0.5, 1.35), (0.5, 10.0), (4.7, 10.0))
    _arrow(ax, (5.2, 10.1), (5.2, 11.4))
