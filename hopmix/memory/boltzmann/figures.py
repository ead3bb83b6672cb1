"""The figures of the chapter (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from hopmix.experiment import Result
from hopmix.memory.boltzmann.experiment import enumerated
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine
from hopmix.memory import plots
from hopmix.memory.plots.figures import retrieval_strip, trajectories
from hopmix.plotting import COLOURS, PALETTE, figure, points, standard_error, styled

_METHODS = {
    "em": ("EM, random start", PALETTE["green"], "o"),
    "adamw": ("AdamW, from images", PALETTE["blue"], "s"),
    "sgd": ("SGD, random start", PALETTE["red"], "^"),
}


@styled
def landscape() -> Figure:
    """A machine with three hidden units in the plane: density, exact samples, and paths of repeated attention."""
    weight = torch.tensor([[1.9, 0.2], [-1.0, 1.6], [-0.8, -1.7]], dtype=torch.float64)
    machine = AttentionalBoltzmannMachine.from_weights(weight, hidden_bias=-weight.square().sum(1) / 2).requires_grad_(False)
    fig, axes = figure(height=4.6)
    ax = axes[0, 0]
    axis = torch.eye(2, dtype=torch.float64)
    density = plots.landscape(lambda v: machine.log_likelihood(v).exp(), 0 * axis[0], axis[0], axis[1], extent=4.6, size=161)
    ax.contourf(density.plane.horizontal, density.plane.vertical, density.values, levels=12, cmap="Blues")
    ax.plot(*machine.sample(150, 1).T, ".", color=PALETTE["orange"], markersize=5, label="exact samples")
    starts = ((-4.2, 3.6), (2.2, 3.8), (4.0, -3.0), (-4.2, -0.4), (0.4, -4.2), (0.35, 0.35), (-0.6, -0.1))
    path = [torch.tensor(starts, dtype=torch.float64)]
    for _ in range(12):
        path.append(machine.update(path[-1]))
    trajectories(ax, torch.stack(path), colour="black")
    ax.plot(*machine.as_mixture().means.T, "*", color=PALETTE["red"], markersize=15, label=r"means $b+w_\mu$")
    ax.set(xlabel="$v_1$", ylabel="$v_2$", aspect="equal", xlim=(-4.6, 4.6), ylim=(-4.6, 4.6))
    fig.legend(loc="outside upper center", ncols=2)
    return fig


@styled
def training(result: Result) -> Figure:
    """Test likelihood, live units and error at missing pixels against the number of hidden units, for three ways of training."""
    fig, axes = figure(rows=3, height=3.1)
    loss, live, filled = axes[:, 0]
    for method, (label, colour, marker) in _METHODS.items():
        units = np.array(result.config["units" if method == "em" else "gradient_units"])
        for ax, name in ((loss, "nll"), (live, "live"), (filled, "filled")):
            curves = np.array([one[f"{method}_{name}"] for one in result.trials])
            ax.errorbar(units, curves.mean(0), yerr=standard_error(curves), color=colour, marker=marker, capsize=3, label=label if ax is loss else None)
    units = np.array(result.config["units"])
    live.plot(units, units, color=COLOURS["theory"], linestyle=":", label="all units live")
    filled.axhline(np.mean([one["mean_fill"] for one in result.trials]), color=PALETTE["black"], linestyle="--", label="mean image")
    loss.set(ylabel="test NLL (nats)")
    live.set(ylabel="live units", yscale="log")
    filled.set(ylabel="error per missing pixel", xlabel="hidden units", ylim=(0, 6))
    for ax in (loss, live, filled):
        ax.set_xscale("log")
        ax.set_xticks(units, [str(n) for n in units], minor=False)
        ax.set_xticks([], minor=True)
    fig.legend(*loss.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    live.legend()
    filled.legend(loc="upper right")
    return fig


def reconstructions(result: Result) -> Figure:
    """Digits with their lower half missing, filled in, and samples of the same machine."""
    first, units = result.trials[0], result.config["units"]
    rows = [
        ("digit", np.array(first["image_true"])),
        ("seen", np.array(first["image_true"])),
        ("mean image", np.array(first["image_mean"])),
        (f"{units[0]} units", np.array(first["image_few"])),
        (f"{units[-1]} units", np.array(first["image_many"])),
        ("samples", np.array(first["image_samples"])),
        ("their means", np.array(first["image_sample_means"])),
    ]
    rows[1][1][:, 32:] = np.nan
    words, images = zip(*rows, strict=True)
    strips = np.stack(images).reshape(len(rows), -1, 8, 8)
    return retrieval_strip(strips, rows=words, limits=(0.0, result.config["contrast"]))


@styled
def dilute_limit(result: Result) -> Figure:
    """Distance of the diluted RBM from the attentional machine: measured, and its leading order."""
    fig, axes = figure(height=3.6)
    ax = axes[0, 0]
    kappa = result.config["suppressions"]
    ax.plot(kappa, np.mean([one["dilute_theory"] for one in result.trials], 0), color=COLOURS["theory"], linestyle="--", label="leading order")
    points(ax, kappa, [one["dilute"] for one in result.trials], COLOURS["memory"], "by quadrature")
    ax.set(yscale="log", xlabel=r"cost $\kappa$ of an active unit", ylabel="total variation")
    ax.legend()
    return fig


@styled
def gibbs_against_enumeration(result: Result) -> Figure:
    """Correlations of spins from block Gibbs chains against those of the enumerated marginal, two orders."""
    fig, axes = figure(height=3.8)
    ax = axes[0, 0]
    for order, colour, marker in ((2, PALETTE["blue"], "o"), (4, PALETTE["red"], "^")):
        exact = enumerated(order).numpy()
        points(ax, exact, [one[f"gibbs_{order}"] for one in result.trials], colour, f"$n={order}$", marker)
    ends = np.array(ax.get_xlim())
    ax.plot(ends, ends, color=COLOURS["theory"], linewidth=1, label="equal")
    ax.set(xlabel="correlation, enumerated", ylabel="correlation, block Gibbs")
    ax.legend()
    return fig
