"""Digits as a mixture of attention: training, live units, missing pixels; the dilute limit; Gibbs (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.boltzmann.dense import DenseBoltzmannMachine
from hopmix.memory.boltzmann.fit import fit_em, fit_gradient, live_units, start_from_data
from hopmix.memory.boltzmann.grid import total_variation
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine
from hopmix.memory.boltzmann.rbm import GaussianBernoulliRBM, dilute_rate
from hopmix.training.digits import digit_patches

METHODS = ("em", "sgd", "adamw")


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one split of the digits, one start, one mask, one random machine.

    units: hidden units trained by EM for `em_steps`; gradient_units: those trained by gradients too, for `epochs`. Grey levels run from 0
    to `contrast`, in units of the model's noise. suppressions: kappa of the diluted RBM; chains and sweeps of the Gibbs sampler.
    """

    seeds: int
    units: tuple[int, ...] = (5, 10, 20, 50, 100, 200)
    gradient_units: tuple[int, ...] = (10, 50, 200)
    training: int = 1200
    contrast: float = 8.0
    em_steps: int = 30
    epochs: int = 20
    batch_size: int = 50
    sgd_rate: float = 0.01
    adamw_rate: float = 0.05
    suppressions: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)
    chains: int = 1000
    sweeps: int = 30
    shown: int = 8
    device: str = "cpu"


def digits(config: Config, seed: int) -> tuple[Tensor, Tensor]:
    """Training and test images, (images, 64) float64 with grey levels from 0 to the contrast, split by the seed."""
    pixels = digit_patches(1)[0].squeeze(2) * config.contrast
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    return pixels[order[: config.training]].to(config.device), pixels[order[config.training :]].to(config.device)


def random_start(config: Config, units: int, train: Tensor, seed: int) -> AttentionalBoltzmannMachine:
    """Rows of W normal with variance 1/64, around the mean image."""
    machine = AttentionalBoltzmannMachine(train.shape[1], units, device=config.device, seed=seed)
    machine.set(visible_bias=train.mean(0))
    return machine


def fitted(config: Config, method: str, units: int, train: Tensor, seed: int) -> AttentionalBoltzmannMachine:
    """"em" and "sgd" begin from the same random start, "adamw" from training images."""
    machine = random_start(config, units, train, seed)
    if method == "em":
        fit_em(machine, train, config.em_steps)
    elif method == "sgd":
        fit_gradient(machine, train, config.epochs, config.batch_size, config.sgd_rate, seed=seed)
    else:
        start_from_data(machine, train, seed)
        fit_gradient(machine, train, config.epochs, config.batch_size, config.adamw_rate, "adamw", "cosine", seed=seed)
    return machine.requires_grad_(False)


def fit_all(config: Config, seed: int, train: Tensor, test: Tensor, methods: tuple[str, ...] = METHODS) -> dict:
    """For each method, over its numbers of units: test `nll` per image with every constant, `filled`, `live` units.

    `filled` is the squared error per missing pixel, half of the test pixels missing at random; beside it that of zeros and of the mean image.
    """
    observed = torch.rand(test.shape, generator=torch.Generator().manual_seed(seed)).to(test.device) > 0.5

    def error(filled: Tensor) -> Tensor:
        return (filled - test)[~observed].square().mean()

    found = {"zero_fill": error(torch.zeros_like(test)), "mean_fill": error(train.mean(0).expand_as(test))}
    for method in methods:
        rows = {"nll": [], "filled": [], "live": []}
        for units in config.units if method == "em" else config.gradient_units:
            machine = fitted(config, method, units, train, seed)
            rows["nll"].append(-machine.log_likelihood(test).mean())
            rows["filled"].append(error(machine.reconstruct(test, observed)))
            rows["live"].append(live_units(machine, train))
        found |= {f"{method}_{name}": torch.tensor(values, dtype=torch.float64) for name, values in rows.items()}
    return found


def pictures(config: Config, seed: int, train: Tensor, test: Tensor) -> dict:
    """Images of the first trial: samples, and digits with their lower half missing, filled in by few and by many units."""
    few, many = (fitted(config, "em", units, train, seed) for units in (config.units[0], config.units[-1]))
    shown = test[: config.shown]
    observed = torch.arange(shown.shape[1], device=shown.device) < shown.shape[1] // 2
    samples = many.sample(config.shown, seed)
    return {
        "image_samples": samples,
        "image_sample_means": many.update(samples),
        "image_true": shown,
        "image_mean": torch.where(observed, shown, train.mean(0)),
        "image_few": few.reconstruct(shown, observed),
        "image_many": many.reconstruct(shown, observed),
    }


def dense_machine(order: int, seed: int) -> DenseBoltzmannMachine:
    """Three random patterns over five spins, with fields of about 0.8."""
    stream = torch.Generator().manual_seed(seed)
    return DenseBoltzmannMachine(0.35 * torch.randn(3, 5, generator=stream, dtype=torch.float64), order)


def dilution(config: Config, seed: int) -> dict:
    """Total variation between a diluted RBM, three hidden units in the plane, and the attentional machine; and its leading order."""
    machine = AttentionalBoltzmannMachine(2, 3, device=config.device, seed=seed).requires_grad_(False)
    rbm = GaussianBernoulliRBM(machine)
    one, two = rbm.as_mixture(active=(1,)), rbm.as_mixture(active=(2,))
    rate = dilute_rate(rbm) * total_variation(two, one)
    found = [total_variation(rbm.dilute(kappa), one) for kappa in config.suppressions]
    return {"dilute": found, "dilute_theory": [math.exp(-kappa) * rate for kappa in config.suppressions]}


def correlations(config: Config, seed: int) -> dict:
    """Correlations of all pairs of spins of one dense machine of each order, from block Gibbs chains of this seed."""
    found = {}
    for order in (2, 4):
        found[f"gibbs_{order}"] = pairs(dense_machine(order, 0).to(config.device).gibbs(config.chains, config.sweeps, seed))
    return found


def enumerated(order: int) -> Tensor:
    """The same correlations by enumeration of the marginal."""
    machine = dense_machine(order, 0)
    states = machine.states()
    return pairs(states, machine.log_weight(states).softmax(0))


def pairs(s: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean products of all pairs of spins: (samples, spins), perhaps with weights (samples,), to (spins (spins - 1) / 2,)."""
    weights = s.new_full((len(s),), 1 / len(s)) if weights is None else weights
    above = torch.triu_indices(s.shape[1], s.shape[1], 1, device=s.device)
    return weights @ (s[:, above[0]] * s[:, above[1]])


def trial(config: Config, seed: int) -> dict:
    train, test = digits(config, seed)
    found = fit_all(config, seed, train, test) | dilution(config, seed) | correlations(config, seed)
    return found | (pictures(config, seed, train, test) if seed == 0 else {})


def summarise(config: Config, trials: list[dict]) -> dict:
    """Means over the seeds for the largest number of units, with standard errors where they are compared."""
    found = {}
    for name in ("em_nll", "sgd_nll", "adamw_nll", "em_filled", "sgd_filled", "adamw_filled", "em_live", "sgd_live", "adamw_live"):
        values = np.array([one[name][-1] for one in trials])
        found[name] = float(values.mean())
        found[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    found |= {name: float(np.mean([one[name] for one in trials])) for name in ("zero_fill", "mean_fill")}
    last = [one["dilute"][-1] / one["dilute_theory"][-1] for one in trials]
    return found | {"dilute_over_theory": float(np.mean(last))}


EXPERIMENT = Experiment(
    "memory.boltzmann",
    version=1,
    scales={
        "smoke": Config(seeds=2, units=(5, 30), gradient_units=(30,), em_steps=15, epochs=4, chains=200, sweeps=10),
        "laptop": Config(seeds=16),
        "gpu": Config(
            seeds=64, units=(5, 10, 20, 50, 100, 200, 400, 800), gradient_units=(10, 50, 200, 800), em_steps=200, epochs=400,
            chains=20000, sweeps=200, device="cuda",
        ),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)  # fmt: skip
