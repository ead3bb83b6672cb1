"""The figures of the chapter (page: book/mixers/wide_sparse.md)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hopmix.experiment import Result
from hopmix.mixers.kronecker import ChannelMixing, PermutedKronecker, SparseLinear, TokenMixing, WideLinear
from hopmix.mixers.wide_sparse.width import effective_width
from hopmix.plotting import COLOURS, figure, points, standard_error, styled

_LABELS = {"mixer": "Mixer", "permuted": "permuted Mixer", "sparse": "sparse MLP", "dense": "dense MLP"}
_COLOUR = {"mixer": "mixer", "permuted": "permuted", "sparse": "sparse_mlp", "dense": "dense_mlp"}
_MARKERS = {"mixer": "o", "permuted": "s", "sparse": "^", "dense": "D"}


@styled
def wide_matrices(tokens: int = 4, channels: int = 6) -> Figure:
    """The picture of the chapter: the wide matrices of four layers; a colour is a value, so equal colours are one shared weight."""
    s, c = tokens, channels
    layers: tuple[tuple[str, WideLinear], ...] = (
        ("tokens: $I_C\\otimes W$", TokenMixing(s, c, seed=0)),
        ("channels: $V\\otimes I_S$", ChannelMixing(s, c, seed=1)),
        ("permuted: $J_1(I_C\\otimes W)J_2$", PermutedKronecker(c, s, seed=0)),
        ("sparse at random", SparseLinear(s * c, s * c, s * s * c, seed=3)),
    )
    fig, axes = figure(rows=2, columns=2, width=4.2, height=5.1)
    for ax, (title, layer) in zip(axes.flat, layers, strict=True):
        matrix = layer.matrix()
        shown = np.full(matrix.shape, np.nan)
        rows, columns = matrix.nonzero()
        values = matrix.toarray()[rows, columns]
        # No weight so pale that it looks like none.
        shown[rows, columns] = np.sign(values) * (0.3 + 0.7 * np.abs(values) / np.abs(values).max())
        ax.imshow(shown, cmap="PuOr", norm=Normalize(-1, 1), interpolation="nearest", aspect="auto")
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ("top", "right"):
            ax.spines[side].set_visible(True)
        ax.set_title(title, fontsize=19)
        ax.set_xlabel(f"{layer.connections} connections,\n{layer.trainable} trainable numbers", fontsize=17)
    return fig


@styled
def aspect(result: Result) -> Figure:
    """Width and accuracy against the ratio of tokens to channels, at fixed connections; without dead networks."""
    fig, axes = figure(rows=2, height=3.5)
    width, accuracy = axes[:, 0]
    omega = result.config["connections"]
    for kind in ("mixer", "permuted"):
        trials = sorted((trial for trial in result.trials if trial["kind"] == kind), key=lambda trial: trial["tokens"] / trial["channels"])
        ratios = [trial["tokens"] / trial["channels"] for trial in trials]
        if kind == "mixer":
            line = np.geomspace(min(ratios), max(ratios), 200)
            width.plot(line, [effective_width(omega, t) for t in line], color=COLOURS["theory"], label="theory")
            width.plot(ratios, [trial["width"] for trial in trials], color=COLOURS["mixer"], linestyle="none", marker="o", label="shapes below")
        shift = 0.96 if kind == "mixer" else 1.04  # so that the bars do not hide each other
        means, errors = zip(*(_alive(trial["accuracy"]) for trial in trials), strict=True)
        accuracy.errorbar(
            shift * np.array(ratios), means, yerr=errors, color=COLOURS[_COLOUR[kind]], label=_LABELS[kind], marker=_MARKERS[kind], linestyle="none", capsize=3
        )
    width.set(xscale="log", ylabel="effective width $SC$")
    width.legend(loc="lower center")
    accuracy.set(xscale="log", xlabel="tokens over channels, $S/C$", ylabel="test accuracy, per cent")
    accuracy.legend(loc="lower right")
    return fig


@styled
def widths(result: Result) -> Figure:
    """Accuracy against width at fixed connections; below, MLPs with one hidden layer and all weights counted."""
    fig, axes = figure(rows=2, height=3.9)
    two, one = axes[:, 0]
    for kind in ("sparse", "mixer", "permuted", "dense"):
        trials = [trial for trial in result.trials if trial["kind"] == kind]
        if kind in ("mixer", "permuted"):  # with two of either, a ReLU network may be dead from the start
            trials = [trial for trial in trials if min(trial["tokens"], trial["channels"]) > 2]
        _accuracy(two, kind, trials)
    two.set(xscale="log", xlabel="width", ylabel="test accuracy, per cent")
    _plain_ticks(two, [16, 32, 64, 128, 256])
    two.legend(loc="lower right")
    for budget, style in zip(sorted({trial["budget"] for trial in result.trials if trial["kind"] == "one_layer"}), ("o", "^", "s"), strict=False):
        trials = [trial for trial in result.trials if trial["kind"] == "one_layer" and trial["budget"] == budget]
        values = 100 * np.array([trial["accuracy"] for trial in trials]).T
        one.errorbar([trial["width"] for trial in trials], values.mean(0), yerr=standard_error(values), color=COLOURS["sparse_mlp"], marker=style, capsize=3, label=f"{budget} weights in all")
    one.set(xscale="log", xlabel="width of the one hidden layer", ylabel="test accuracy, per cent")
    _plain_ticks(one, [4, 8, 16, 32])
    one.legend(loc="lower right")
    return fig


def _alive(accuracies: list[float]) -> tuple[float, float]:
    """Mean and standard error, in per cent, over the networks that learned anything: dead ones stay at chance, 10 per cent."""
    values = 100 * np.array([one for one in accuracies if one > 0.2] or accuracies)
    return float(values.mean()), float(standard_error(values[:, None])[0])


def _accuracy(ax: Axes, kind: str, trials: list[dict]) -> None:
    values = 100 * np.array([trial["accuracy"] for trial in trials]).T
    style = {"linestyle": "-"} if kind == "sparse" else {"linestyle": "none"}
    ax.errorbar(
        [trial["width"] for trial in trials], values.mean(0), yerr=standard_error(values),
        color=COLOURS[_COLOUR[kind]], marker=_MARKERS[kind], capsize=3, label=_LABELS[kind], **style,
    )  # fmt: skip


def _plain_ticks(ax: Axes, ticks: list[int]) -> None:
    ax.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    ax.set_xticks([], minor=True)


@styled
def similarity(result: Result) -> Figure:
    """Linear CKA with a Mixer's features against the density of the sparse MLP, for both layers."""
    (found,) = (trial for trial in result.trials if trial["kind"] == "similarity")
    fig, axes = figure(rows=2, height=3.5)
    sparse = np.array(found["sparse"])
    for layer, ax in enumerate(axes[:, 0]):
        for kind, style in (("mixer", "--"), ("permuted", ":")):
            mean = np.mean(found[kind], 0)[layer]
            label = "another Mixer" if kind == "mixer" else _LABELS[kind]
            ax.axhline(mean, color=COLOURS[_COLOUR[kind]], linestyle=style, label=label)
        points(ax, found["density"], sparse[:, :, layer], COLOURS["sparse_mlp"], _LABELS["sparse"], "^")
        ax.axvline(found["mixer_density"], color=COLOURS["mixer"], linewidth=1)
        ax.set(xscale="log", ylabel=f"CKA with a Mixer,\nlayer {layer + 1}", xlabel="density of the sparse MLP" if layer else "")
        ax.legend(loc="best")
    return fig


@styled
def spectrum(result: Result) -> Figure:
    """Largest singular value of untrained layers against width at fixed connections, with what the heaviest unit explains."""
    trials = [trial for trial in result.trials if trial["kind"] == "spectrum"]
    fig, axes = figure(height=3.8)
    ax, x = axes[0, 0], [trial["width"] for trial in trials]
    outliers = np.array([trial["outlier"] for trial in trials]).T
    ax.plot(x, outliers.mean(0), color=COLOURS["theory"], label="theory, heaviest unit")
    ax.axhline(2, color=COLOURS["theory"], linestyle=":", linewidth=1, label="edge of the bulk")
    points(ax, x, np.array([trial["largest"] for trial in trials]).T, COLOURS["sparse_mlp"], "sparse at random", "^")
    points(ax, x, np.array([trial["permuted"] for trial in trials]).T, COLOURS["permuted"], "equal blocks, permuted", "s")
    ax.set(xscale="log", xlabel="width", ylabel="largest singular value")
    _plain_ticks(ax, x)
    ax.legend(loc="upper left")
    return fig
