"""The figures of the chapter, from trained memories and from an experiment's result (page: book/memory/denoiser.md)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hopmix.arguments import size
from hopmix.experiment import Result
from hopmix.memory.denoiser.images import standardised
from hopmix.memory.denoiser.model import VISIBLE, Denoiser
from hopmix.memory.plots import energy_landscape, landscape, retrieval_strip
from hopmix.plotting import COLOURS, band, figure, points, styled

_WORDS = {
    "noisy": "noisy image",
    "linear": "Wiener filter",
    "stored": "posterior mean, stored images",
    "start": "memory, image as start",
    "driven": "memory, image as input",
    "simultaneous": "memory, all layers at once",
    "kronecker": "memory of rows and columns",
    "rest": "memory at rest",
    "ridge": "ridge filter",
}
_MARKS = {"noisy": "x", "ridge": "v", "linear": "s", "stored": "D", "start": "o", "driven": "^", "simultaneous": "P", "kronecker": "*", "rest": "h"}


def _colour(name: str) -> str:
    return COLOURS[{"linear": "linear_filter", "ridge": "linear_filter", "stored": "stored_images", "kronecker": "mixer", "rest": "memory"}.get(name, name)]


def restoration(denoiser: Denoiser, clean: Tensor, noisy: Tensor) -> Figure:
    """Noisy images, what the memory shows after each step, and the clean images: (samples, rows, columns) each."""
    shown = [standardised(denoiser.seen(state).detach()) for state in denoiser.path(noisy)[1:]]
    columns = torch.stack([standardised(noisy), *shown, standardised(clean)], 1)
    titles = ["noisy", *(f"step {step + 1}" for step in range(len(shown))), "clean"]
    # A few pixels beyond the clean images' range, so that noise does not darken everything else.
    return retrieval_strip(columns, titles, limits=(float(clean.min()) - 0.3, float(clean.max()) + 0.3))


@styled
def receptive_fields(denoiser: Denoiser, count: int = 24, columns: int = 6) -> Figure:
    """The weights of the hidden units with the largest weights, each less its mean, which no activation sees; one grey scale."""
    count = size("count", count)
    weight = next(iter(denoiser.memory.synapses)).operator.weight.detach()
    shape = denoiser.memory.layer(VISIBLE).shape
    centred = weight - weight.mean(1, keepdim=True)
    strongest = centred.norm(dim=1).argsort(descending=True)[:count]
    fields = centred[strongest].reshape(len(strongest), *shape).cpu().numpy()
    side, most = 5.6 / columns, np.quantile(np.abs(fields), 0.995)
    fig, axes = figure(-(-len(fields) // columns), columns, height=side, width=side)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, field in zip(axes.flat, fields):
        ax.imshow(field, cmap="gray", vmin=-most, vmax=most, interpolation="nearest")
    return fig


def digit_landscape(denoiser: Denoiser, clean: Tensor, noisy: Tensor, words: Sequence[str], steps: int = 12) -> Figure:
    """The energy over the plane through three clean images, and retrievals from noisy ones, projected onto it.

    clean : three images (3, rows, columns). noisy : (samples, rows, columns). The state shown is the activation: the energy does not see its length.
    """
    exact = deepcopy(denoiser).double()
    first, second, third = standardised(clean.double())
    middle = (first + second) / 2
    surface = landscape(exact.memory.energy, middle, (second - first) / 2, third - middle, extent=((-1.7, 1.7), (-0.7, 1.6)), size=71)
    paths = torch.stack([exact.seen(state) for state in exact.path(noisy.double(), steps)]).detach()
    marks = list(zip(words, (first, second, third)))
    return energy_landscape(surface, paths, marks, xlabel="from the first to the second", ylabel="to the third")


@styled
def noise_levels(result: Result) -> Figure:
    """Above, the cosine between restored and clean digits against the noise, the line being theory for the noisy image; below, what each gains on the Wiener filter."""
    fig, axes = figure(rows=2, height=3.8)
    close, gain = axes[:, 0]
    trials = [one for one in result.trials if one["set"] == "digits"]
    noises = np.array(result.config["noises"])
    fine = np.geomspace(noises[0], noises[-1], 60)
    close.plot(fine, 1 / np.sqrt(1 + fine**2), color=COLOURS["theory"], linestyle=":", label=r"$1/\sqrt{1+\sigma^2}$")
    cosines = {name: np.array([one["cosine"][name] for one in trials]) for name in ("noisy", "linear", "stored", result.config["variants"][0])}
    for name, values in cosines.items():
        points(close, noises, values, _colour(name), _WORDS[name], _MARKS[name])
        if name not in ("noisy", "linear"):
            band(gain, noises, values - cosines["linear"], _colour(name), _WORDS[name])
            points(gain, noises, values - cosines["linear"], _colour(name), "", _MARKS[name])
    gain.axhline(0, color=_colour("linear"), linewidth=1.5)
    for ax in (close, gain):
        ax.set(xscale="log")
        ax.set_xticks(noises, [f"{noise:g}" for noise in noises], minor=False)
        ax.set_xticks([], minor=True)
    close.set(ylabel="cosine to the clean digit")
    close.legend(loc="lower left")
    gain.set(xlabel=r"noise $\sigma$, in standard deviations of the image", ylabel="gain on the Wiener filter")
    return fig


@styled
def methods(result: Result) -> Figure:
    """The cosine of each method at the main noise, one panel for each set of images, with standard errors over the seeds."""
    sets = list(dict.fromkeys(one["set"] for one in result.trials))
    names = ["noisy", "ridge", "linear", "stored", *result.config["variants"]]
    fig, axes = figure(rows=len(sets), height=0.42 * len(names) + 1.0)
    for ax, which in zip(axes[:, 0], sets):
        for place, name in enumerate(reversed(names)):
            mean, error = result.summary[f"{which}_{name}"], result.summary[f"{which}_{name}_error"]
            ax.errorbar(mean, place, xerr=error, color=_colour(name), marker=_MARKS[name], capsize=3, linestyle="none", markersize=8)
        ax.set_yticks(range(len(names)), [_WORDS[name] for name in reversed(names)])
        ax.set(title=which, ylim=(-0.6, len(names) - 0.4))
        ax.grid(axis="x", alpha=0.3)
    axes[-1, 0].set_xlabel("cosine to the clean image")
    return fig


@styled
def along_retrieval(result: Result) -> Figure:
    """Above, how close retrieval is to the clean digit, step after step; below, its energy, which falls on. The line marks where training stopped."""
    fig, axes = figure(rows=2, height=3.4)
    close, energy = axes[:, 0]
    trials = [one for one in result.trials if one["set"] == "digits"]
    for name in result.config["variants"]:
        steps = trials[0]["variants"][name]["steps"]
        curves = [one["paths"][name] for one in trials]
        along = np.arange(len(curves[0]["cosine"])) / steps
        band(close, along, [curve["cosine"] for curve in curves], _colour(name), _WORDS[name])
        band(energy, along, [curve["energy"] for curve in curves], _colour(name), _WORDS[name])
    for ax in (close, energy):
        ax.axvline(1, color="black", linestyle=":", linewidth=1)
    close.set(ylabel="cosine to the clean digit")
    close.legend()
    energy.set(xlabel="steps, over those it was trained for", ylabel="energy per pixel")
    return fig
