"""Overlaps of memories taught with examples, errors of little data and small matrices (page: book/memory/examples.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from hopmix.experiment import Experiment
from hopmix.memory.attention import random_patterns
from hopmix.memory.examples.associations import STORING, association_error, measured_association_error, measured_unseen, predicted_exponent, unseen_mass
from hopmix.memory.examples.hebbian import ExampleMemory, mean_examples, noisy_examples
from hopmix.memory.examples.law import one_step_overlap

DEGREES = (2, 3, 4)


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one draw of everything.

    A memory of ``neurons`` neurons of degree 3 and ``patterns`` patterns is taught with ``examples`` of either quality; at fixed
    ``load_examples`` of the second quality, memories of degree 2, 3, 4 with ``load_neurons`` hold the ``loads`` K (P-1)! / N^(P-1).
    read: patterns asked for. Associations: samples for the unseen mass, dimensions and the vocabulary for the matrix, exponents alpha.
    """

    seeds: int
    neurons: int = 100
    patterns: int = 500
    examples: tuple[int, ...] = (1, 3, 9, 27, 81, 243)
    qualities: tuple[float, ...] = (0.2, 0.5)
    load_examples: int = 15
    load_neurons: tuple[int, ...] = (300, 100, 40)
    loads: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    read: int = 20
    samples: tuple[int, ...] = (30, 100, 300, 1000, 3000, 10000, 30000, 100000)
    dimensions: tuple[int, ...] = (32, 64, 128, 256, 512)
    vocabulary: int = 5000
    alphas: tuple[float, ...] = (1.5, 2.0)
    device: str = "cpu"


def measured_overlap(
    neurons: int, patterns: int, examples: int, quality: float, degree: int, generator: torch.Generator,
    new_example: bool = False, read: int = 20, device: str = "cpu",
) -> float:  # fmt: skip
    """Mean overlap with the pattern after one step, from the pattern or from an example that was not stored; a field of zero counts nothing."""
    stored = random_patterns(patterns, neurons, generator)
    memory = ExampleMemory(mean_examples(stored, examples, quality, generator).to(device), degree)
    asked = stored[:read]
    start = noisy_examples(asked, 1, quality, generator)[:, 0] if new_example else asked
    return float((memory.field(start.to(device)).sign() * asked.to(device)).mean())


def patterns_at(config: Config, degree: int, neurons: int) -> list[int]:
    """The numbers of patterns that belong to the loads."""
    return [max(2, round(load * neurons ** (degree - 1) / math.factorial(degree - 1))) for load in config.loads]


def curves(config: Config) -> dict[str, tuple[float, bool]]:
    """The curves against the number of examples: name -> (quality, whether the query is a new example)."""
    return {f"pattern_{config.qualities[0]:g}": (config.qualities[0], False), **{
        f"{'new' if new else 'pattern'}_{config.qualities[1]:g}": (config.qualities[1], new) for new in (False, True)
    }}  # fmt: skip


def trial(config: Config, seed: int) -> dict:
    """One seed of everything."""
    g = torch.Generator().manual_seed(seed)
    found: dict[str, list] = {}
    for name, (quality, new) in curves(config).items():
        found[name] = [measured_overlap(config.neurons, config.patterns, m, quality, 3, g, new, config.read, config.device) for m in config.examples]
    for degree, n in zip(DEGREES, config.load_neurons, strict=True):
        counts = patterns_at(config, degree, n)
        found[f"load_{degree}"] = [measured_overlap(n, k, config.load_examples, config.qualities[1], degree, g, False, config.read, config.device) for k in counts]
    for alpha in config.alphas:
        found[f"unseen_{alpha:g}"] = measured_unseen(config.samples, alpha, g).tolist()
    errors = [measured_association_error(d, config.alphas, g, vocabulary=config.vocabulary, device=config.device) for d in config.dimensions]
    for storing in STORING:
        for position, alpha in enumerate(config.alphas):
            found[f"{storing}_{alpha:g}"] = [error[storing][position] for error in errors]
    return found


def expected(config: Config) -> dict[str, list[float]]:
    """The law of every curve of a trial."""
    law = {
        name: [one_step_overlap(config.neurons, config.patterns, m, quality, 3, quality if new else 1.0) for m in config.examples]
        for name, (quality, new) in curves(config).items()
    }
    for degree, n in zip(DEGREES, config.load_neurons, strict=True):
        law[f"load_{degree}"] = [one_step_overlap(n, k, config.load_examples, config.qualities[1], degree) for k in patterns_at(config, degree, n)]
    for alpha in config.alphas:
        law[f"unseen_{alpha:g}"] = [unseen_mass(count, alpha) for count in config.samples]
        for storing in STORING:
            law[f"{storing}_{alpha:g}"] = [association_error(d, alpha, storing, vocabulary=config.vocabulary) for d in config.dimensions]
    return law


def fitted_exponent(x: tuple[int, ...], errors: np.ndarray) -> tuple[float, float]:
    """The slope of the logarithm of the mean error in log x, and its standard error; errors: (seeds, points).

    The mean comes first: the mean of logarithms of errors that scatter is not the logarithm of their mean. The standard error is that of
    the slope's linear part in each seed; zero for one seed.
    """
    logs = np.log(x) - np.mean(np.log(x))
    weights, mean = logs / (logs @ logs), errors.mean(0)
    parts = errors / mean @ weights
    error = float(parts.std(ddof=1) / math.sqrt(len(parts))) if len(parts) > 1 else 0.0
    return float(weights @ np.log(mean)), error


def summarise(config: Config, trials: list[dict]) -> dict:
    """Exponents fitted to mean errors with their standard errors, the same fit to the law, and how far all points are from it."""
    summary, law = {}, expected(config)
    for alpha in config.alphas:
        for name in ("unseen", *STORING):
            key, x = f"{name}_{alpha:g}", config.samples if name == "unseen" else config.dimensions
            summary[f"exponent_{key}"], summary[f"exponent_{key}_error"] = fitted_exponent(x, np.array([one[key] for one in trials]))
            summary[f"exponent_{key}_law"] = fitted_exponent(x, np.array([law[key]]))[0]
            summary[f"exponent_{key}_limit"] = 1 / alpha - 1 if name == "unseen" else predicted_exponent(name, alpha)
    if len(trials) >= 8:  # a standard error from fewer seeds is no measure
        deviations = []
        for key, values in law.items():
            samples = np.array([one[key] for one in trials])
            deviations.append(np.abs(samples.mean(0) - values) / (samples.std(0, ddof=1) / math.sqrt(len(samples))))
        summary["largest_deviation"] = float(max(deviation.max() for deviation in deviations))
        summary["points"] = sum(len(deviation) for deviation in deviations)
    return summary


EXPERIMENT = Experiment(
    "memory.examples",
    version=1,
    scales={
        "smoke": Config(
            seeds=2, neurons=40, patterns=50, examples=(1, 5, 25), load_neurons=(40, 24, 16), loads=(0.05, 0.3), read=5,
            samples=(30, 300, 3000), dimensions=(32, 64, 128), vocabulary=2000,
        ),
        "laptop": Config(seeds=32),
        "gpu": Config(
            seeds=64, neurons=400, patterns=8000, load_neurons=(2000, 400, 100), read=100, dimensions=(32, 64, 128, 256, 512, 1024, 2048),
            vocabulary=100000, device="cuda",
        ),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)  # fmt: skip
