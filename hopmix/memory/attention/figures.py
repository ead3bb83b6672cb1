"""The figures of the chapter (page: book/memory/attention.md)."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.special import ndtri

from hopmix.experiment import Result
from hopmix.memory.attention.capacity import critical_patterns, one_step_error, sphere_capacity, sphere_patterns
from hopmix.memory.attention.experiment import ENERGIES, ERROR, Config, exponents, patterns_at, stored_digits
from hopmix.memory.attention.metastable import critical_inverse_temperature, fixed_points
from hopmix.memory.attention.models import modern_hopfield
from hopmix.memory.plots import landscape
from hopmix.memory.plots.figures import retrieval_strip, trajectories
from hopmix.plotting import COLOURS, PALETTE, band, figure, points, styled

_KAPPA_COLOURS = (PALETTE["sky"], PALETTE["blue"], PALETTE["green"])
_MARKERS = {"2": "o", "3": "s", "4": "^", "exp": "D"}


def _config(result: Result) -> Config:
    return Config(**{key: tuple(map(tuple, value)) if key in ("sizes", "sphere_sizes") else value for key, value in result.config.items()})


@styled
def landscapes(inverse_temperatures: tuple[float, ...] = (0.6, 2.0, 12.0)) -> Figure:
    """The energy over a plane with eight patterns at three inverse temperatures, and the steps of attention on it."""
    patterns = torch.tensor([[1.0, 0.9], [1.4, 0.5], [1.3, 1.3], [-1.1, 0.9], [-1.4, 0.4], [-0.8, 1.4], [0.2, -1.3], [-0.4, -1.5]], dtype=torch.float64)
    patterns = patterns - patterns.mean(0)
    edge = torch.linspace(-1.9, 1.9, 4, dtype=torch.float64)
    starts = torch.cartesian_prod(edge, edge)
    fig, axes = figure(1, len(inverse_temperatures), height=3.3, width=3.0)
    axis = torch.eye(2, dtype=torch.float64)
    for ax, beta in zip(axes[0], inverse_temperatures, strict=True):
        memory = modern_hopfield(patterns, beta)
        surface = landscape(memory.energy, torch.zeros(2, dtype=torch.float64), axis[0], axis[1], extent=2.1, size=81)
        ax.contourf(surface.plane.horizontal, surface.plane.vertical, surface.values, levels=18, cmap="cividis")
        trajectories(ax, memory.iterate(starts, [1.0] * 60, leak=True))
        ax.plot(*patterns.numpy().T, marker="x", markersize=9, markeredgewidth=3, color="white", linestyle="none")
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.set_title(rf"$\beta={beta:g}$", fontsize=22, pad=10)
    return fig


@styled
def retrieval(seed: int = 0, factors: tuple[float, ...] = (0.9, 1.3, 2.0, 4.0, 10.0), shown: int = 4, noise: float = 0.04) -> Figure:
    """Noisy digits and the fixed points they lead to, at inverse temperatures in units of the critical one, as deviations from the mean."""
    generator = torch.Generator().manual_seed(seed)
    patterns, labels = stored_digits(200, generator)
    critical = critical_inverse_temperature(patterns)
    chosen = torch.stack([(labels == digit).nonzero()[0, 0] for digit in range(shown)])
    query = patterns[chosen] + noise * torch.randn(shown, 64, generator=generator, dtype=torch.float64)
    columns = [query, *(fixed_points(patterns, factor * critical, query, tolerance=1e-6) for factor in factors), patterns[chosen]]
    titles = ["query", *(f"{factor:g}" for factor in factors), "stored"]
    return retrieval_strip(torch.stack(columns, 1).reshape(shown, len(columns), 8, 8), titles=titles, limits=(-0.3, 0.3))


@styled
def phases(result: Result) -> Figure:
    """How many digits share the softmax at a fixed point, and whose weight it is, against the inverse temperature."""
    fig, axes = figure(rows=2, height=3.4)
    number, share = axes[:, 0]
    factors = np.array(result.config["temperatures"])
    points(number, factors, [t["effective"] for t in result.trials], COLOURS["memory"], "effective number (median)")
    points(number, factors, [t["distinct"] for t in result.trials], PALETTE["orange"], "different fixed points", marker="s")
    number.plot([factors[0], 1.0], [result.config["digits"]] * 2, color=COLOURS["theory"], label="theory: the mean of all")
    number.set(xscale="log", yscale="log", ylabel="number")
    points(share, factors, [t["own"] for t in result.trials], COLOURS["memory"], "on the digit itself")
    points(share, factors, [t["class"] for t in result.trials], PALETTE["green"], "on its class", marker="s")
    points(share, factors, [t["guaranteed"] for t in result.trials], COLOURS["theory"], "digits with the guarantee", marker="x")
    share.set(xscale="log", xlabel=r"inverse temperature $\beta/\beta_c$", ylabel="softmax weight, or share")
    for ax in (number, share):
        ax.axvline(1.0, color=COLOURS["theory"], linestyle="--", linewidth=1.2)
        ax.set_xticks([0.5, 1, 2, 5, 10, 40], ["0.5", "1", "2", "5", "10", "40"])
        ax.set_xticks([], minor=True)
    number.legend(fontsize=11)
    share.legend(fontsize=11, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return fig


@styled
def one_step(result: Result) -> Figure:
    """Distance to the pattern after one step, and the bound on it, against the inverse temperature."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    factors = np.array(result.config["temperatures"])
    points(ax, factors, [t["error"] for t in result.trials], COLOURS["memory"], "after one step")
    band(ax, factors, [t["bound_pairs"] for t in result.trials], COLOURS["theory"], "bound, sum over pairs")
    ax.plot(factors, np.mean([t["bound"] for t in result.trials], axis=0), color=COLOURS["theory"], linestyle=":", label="bound, worst pair")
    ax.set(xscale="log", yscale="log", xlabel=r"inverse temperature $\beta/\beta_c$", ylabel="distance to the digit", ylim=(1e-9, 10))
    ax.set_xticks([0.5, 1, 2, 5, 10, 40], ["0.5", "1", "2", "5", "10", "40"])
    ax.set_xticks([], minor=True)
    ax.legend(loc="lower left")
    return fig


@styled
def errors(result: Result) -> Figure:
    """The share of wrong neurons after one step against the load: simulation, exact law, and the curve that all degrees tend to."""
    fig, axes = figure(height=3.8)
    ax = axes[0, 0]
    config = _config(result)
    loads = np.array(config.loads)
    curve = np.geomspace(loads[0] * 0.9, loads[-1] * 1.1, 40)
    limit = [0.5 * math.erfc(1 / math.sqrt(2 * load)) for load in curve]
    ax.plot(curve, limit, color=COLOURS["theory"], linestyle="--", label=r"$Q(1/\sqrt{\mathrm{load}})$")
    for degree, neurons in zip((2, 3, 4), config.load_sizes, strict=True):
        colour = COLOURS[f"degree_{degree}"]
        counts = patterns_at(config, degree, neurons)
        ax.plot(loads, [one_step_error(neurons, count, degree) for count in counts], color=colour)
        points(ax, loads, [t[f"error_{degree}"] for t in result.trials], colour, rf"$n={degree}$, $N={neurons}$", marker=_MARKERS[str(degree)])
    ax.set(xscale="log", yscale="log", xlabel=r"load $K\,(2n-3)!!/N^{n-1}$", ylabel="share of wrong neurons")
    ax.set_xticks(loads, [f"{load:g}" for load in loads])
    ax.set_xticks([], minor=True)
    ax.legend()
    return fig


@styled
def dense_capacity(result: Result) -> Figure:
    """Patterns at one per cent errors against the number of neurons: powers, on double logarithmic axes, and the exponential energy."""
    fig, axes = figure(rows=2, height=3.8)
    config, (power, exponential) = _config(result), axes[:, 0]
    slopes = exponents(config, result.trials)
    for (name, degree), sizes in zip(ENERGIES.items(), config.sizes, strict=True):
        ax, colour = exponential if degree is None else power, COLOURS[f"degree_{name}"]
        line = np.unique(np.geomspace(sizes[0], sizes[-1], 12).round().astype(int))
        ax.plot(line, [critical_patterns(int(n), degree, ERROR) for n in line], color=colour)
        label = rf"exponential: {slopes[name][0]:.2f} bits per neuron" if degree is None else rf"$n={name}$: exponent {slopes[name][0]:.2f}"
        points(ax, sizes, [t[f"capacity_{name}"] for t in result.trials], colour, label, marker=_MARKERS[name])
    normal = np.arange(config.sizes[3][0], config.sizes[3][-1] + 1)
    expected = [math.exp((n - 1) * (2 - math.log(math.cosh(2)))) / ndtri(ERROR) ** 2 for n in normal]
    exponential.plot(normal, expected, color=COLOURS["theory"], linestyle="--", label="normal noise, 0.974 bits")
    power.set(xscale="log", yscale="log", xlabel="neurons $N$", ylabel="patterns at 1% errors")
    power.set_ylim(top=30 * power.get_ylim()[1])
    ticks = sorted({n for sizes in config.sizes[:3] for n in (sizes[0], sizes[-1])})
    power.set_xticks(ticks, [str(n) for n in ticks])
    power.set_xticks([], minor=True)
    exponential.set(yscale="log", xlabel="neurons $N$", ylabel="patterns at 1% errors", xticks=list(config.sizes[3]))
    for ax in (power, exponential):
        ax.legend()
    return fig


@styled
def sphere(result: Result) -> Figure:
    """Above, capacities of attention on the sphere against the dimension; below, the exponent against the inverse temperature."""
    fig, axes = figure(rows=2, height=3.6)
    config, (numbers, rates) = _config(result), axes[:, 0]
    slopes = exponents(config, result.trials)
    grid = np.linspace(0.05, 1.2 * max(config.kappas), 60)
    rates.plot(grid, [sphere_capacity(float(kappa)) for kappa in grid], color=COLOURS["theory"], label=r"$\alpha_c(\kappa)$, $N\to\infty$")
    for kappa, sizes, colour, marker in zip(config.kappas, config.sphere_sizes, _KAPPA_COLOURS, "os^", strict=True):
        line = np.arange(sizes[0], sizes[-1] + 1)
        numbers.plot(line, [sphere_patterns(int(n), kappa) for n in line], color=colour)
        numbers.plot(line, [sphere_patterns(int(n), kappa, "asymptotic") for n in line], color=COLOURS["theory"], linestyle=":", linewidth=1.5)
        points(numbers, sizes, [t[f"sphere_{kappa:g}"] for t in result.trials], colour, rf"$\kappa={kappa:g}$", marker=marker)
        mean, error, _ = slopes[f"sphere_{kappa:g}"]
        rates.errorbar([kappa], [mean], yerr=[error], color=colour, marker=marker, capsize=3, linestyle="none", label=rf"slope above, $\kappa={kappa:g}$")
    numbers.set(yscale="log", xlabel="dimension $N$", ylabel="patterns")
    rates.set(xlabel=r"inverse temperature $\kappa=\beta M^2/N$", ylabel=r"slope of $\log K_c$ in $N$")
    for ax in (numbers, rates):
        ax.legend()
    return fig
