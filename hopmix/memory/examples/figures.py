"""The figures of the chapter (page: book/memory/examples.md)."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from hopmix.experiment import Result
from hopmix.memory.examples.associations import STORING, association_error, predicted_exponent, unseen_mass
from hopmix.memory.examples.experiment import DEGREES, Config, curves
from hopmix.memory.examples.law import one_step_overlap
from hopmix.plotting import COLOURS, PALETTE, figure, points, styled

_MARKERS = "os^"
_STORING_WORDS = {"threshold": r"$q=1$ for $x\leq d/8$", "root": r"$q=\sqrt{p}$", "frequency": r"$q=p$"}


def _config(result: Result) -> Config:
    return Config(**{key: tuple(value) if isinstance(value, list) else value for key, value in result.config.items()})


@styled
def overlaps(result: Result) -> Figure:
    """The overlap with a pattern that was never stored: above against the number of examples, below against the load."""
    fig, axes = figure(rows=2, height=3.9)
    config, (taught, loaded) = _config(result), axes[:, 0]
    n, k = config.neurons, config.patterns
    grid = np.unique(np.geomspace(config.examples[0], config.examples[-1], 24).round().astype(int) // 2 * 2 + 1)
    colours = (COLOURS["noisy_example"], COLOURS["taught_example"], COLOURS["new_example"])
    for (name, (quality, new)), colour, marker in zip(curves(config).items(), colours, _MARKERS, strict=True):
        start = quality if new else 1.0
        taught.plot(grid, [one_step_overlap(n, k, int(m), quality, 3, start) for m in grid], color=colour)
        taught.plot(grid, [one_step_overlap(n, k, int(m), quality, 3, start, "closed") for m in grid], color=colour, linestyle=":", linewidth=1.5)
        label = f"from {'a new example' if new else 'the pattern'}, r = {quality:g}"
        points(taught, config.examples, [t[name] for t in result.trials], colour, label, marker=marker)
    taught.plot([], [], color=COLOURS["theory"], linestyle=":", linewidth=1.5, label="closed forms")
    taught.set(xscale="log", xlabel="examples $M$", ylabel="overlap after one step", ylim=(-0.03, 1.55), yticks=[0, 0.25, 0.5, 0.75, 1])
    taught.set_xticks(config.examples, [str(m) for m in config.examples])
    loads = np.geomspace(config.loads[0], config.loads[-1], 24)
    for degree, neurons, marker in zip(DEGREES, config.load_neurons, _MARKERS, strict=True):
        colour, scale = COLOURS[f"degree_{degree}"], neurons ** (degree - 1) / math.factorial(degree - 1)
        counts = [max(2, round(load * scale)) for load in loads]
        loaded.plot(np.array(counts) / scale, [one_step_overlap(neurons, c, config.load_examples, config.qualities[1], degree) for c in counts], color=colour)
        points(loaded, config.loads, [t[f"load_{degree}"] for t in result.trials], colour, f"P = {degree}, N = {neurons}", marker=marker)
    rho = (1 - config.qualities[1] ** 2) / (config.load_examples * config.qualities[1] ** 2)
    closed = [math.erf(1 / math.sqrt(2 * (rho + load * (1 + rho) ** 2))) for load in loads]
    loaded.plot(loads, closed, color=COLOURS["theory"], linestyle=":", linewidth=1.5, label="closed form, P = 2")
    loaded.set(xscale="log", xlabel=r"load $K\,(P-1)!/N^{P-1}$", ylabel="overlap after one step")
    loaded.set_xticks(config.loads, [f"{load:g}" for load in config.loads])
    for ax in (taught, loaded):
        ax.set_xticks([], minor=True)
        ax.legend()
    taught.legend(loc="upper left")
    return fig


@styled
def scaling(result: Result) -> Figure:
    """Above, the mass of unseen inputs against the number of samples; below, errors of matrices against their dimension."""
    config = _config(result)
    fig, axes = figure(rows=1 + len(config.alphas), height=3.6)
    unseen = axes[0, 0]
    grid = np.unique(np.geomspace(config.samples[0], config.samples[-1], 16).round().astype(int))
    for alpha, colour, marker in zip(config.alphas, (PALETTE["green"], PALETTE["pink"]), _MARKERS):
        unseen.plot(grid, [unseen_mass(int(t), alpha) for t in grid], color=colour)
        unseen.plot(grid, [unseen_mass(int(t), alpha, "asymptotic") for t in grid], color=COLOURS["theory"], linestyle=":", linewidth=1.5)
        points(unseen, config.samples, [t[f"unseen_{alpha:g}"] for t in result.trials], colour, rf"$\alpha={alpha:g}$: limit $T^{{{1 / alpha - 1:.2f}}}$", marker=marker)
    unseen.set(xscale="log", yscale="log", xlabel="samples $T$", ylabel="probability unseen")
    unseen.legend()
    dimensions = np.array(config.dimensions)
    fine = np.unique(np.geomspace(dimensions[0], dimensions[-1], 9).round().astype(int))
    for ax, alpha in zip(axes[1:, 0], config.alphas, strict=True):
        for storing, marker in zip(STORING, _MARKERS, strict=True):
            # A threshold at d / 8 is a whole number only at multiples of eight.
            at = fine // 8 * 8 if storing == "threshold" else fine
            colour, slope = COLOURS[f"stored_{storing}"], predicted_exponent(storing, alpha)
            law = [association_error(int(d), alpha, storing, vocabulary=config.vocabulary) for d in at]
            ax.plot(at, law, color=colour)
            ax.plot(at, law[-1] * (at / at[-1]) ** slope, color=COLOURS["theory"], linestyle=":", linewidth=1.5)
            label = rf"{_STORING_WORDS[storing]}: limit $d^{{{slope:.2f}}}$"
            points(ax, dimensions, [t[f"{storing}_{alpha:g}"] for t in result.trials], colour, label, marker=marker)
        ax.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel=rf"error, $\alpha={alpha:g}$")
        ax.set_xticks(dimensions, [str(d) for d in dimensions])
        ax.set_xticks([], minor=True)
        low, high = ax.get_ylim()
        ax.set_ylim(bottom=low * (low / high) ** 0.6)  # room for the legend
        ax.legend(loc="lower left")
    return fig
