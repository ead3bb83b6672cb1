"""Capacities, phases and retrieval of two-layer memories, theory beside simulation (page: book/memory/attention.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.attention.bounds import retrieval_bound, retrieval_guarantee, spread
from hopmix.memory.attention.capacity import critical_patterns, one_step_error, sphere_patterns
from hopmix.memory.attention.dense import dense_memory, random_patterns
from hopmix.memory.attention.metastable import balanced, critical_inverse_temperature, effective_number, fixed_points, softmax_weights
from hopmix.memory.attention.models import modern_hopfield
from hopmix.training.digits import digit_patches

ERROR = 0.01  # the error of a neuron that defines a dense memory's capacity
_STRADDLE = (0.75, 4 / 3)  # loads around the capacity, in its units, between which the simulation is interpolated
ENERGIES = {"2": 2, "3": 3, "4": 4, "exp": None}


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one draw of everything.

    sizes: numbers of neurons for the capacity with F of degree 2, 3, 4 and exponential. loads: K (2n-3)!! / N^(n-1) for the errors
    at ``load_sizes`` neurons. neurons_read: about how many neurons' errors are counted at each point. kappas and sphere_sizes:
    inverse temperatures and dimensions for attention on the sphere, targets: how many patterns there are asked for. digits:
    how many images are stored; temperatures: inverse temperatures, in units of the critical one; distance: from the pattern to the query.
    """

    seeds: int
    sizes: tuple[tuple[int, ...], ...] = ((50, 100, 200, 400), (30, 60, 120, 240), (24, 36, 54, 80), (14, 16, 18, 20))
    loads: tuple[float, ...] = (0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
    load_sizes: tuple[int, ...] = (200, 60, 40)
    neurons_read: int = 10000
    kappas: tuple[float, ...] = (0.5, 1.0, 2.0)
    sphere_sizes: tuple[tuple[int, ...], ...] = ((10, 14, 18, 22, 26), (8, 10, 12, 14, 16), (6, 7, 8, 9, 10, 11))
    targets: int = 8
    digits: int = 200
    temperatures: tuple[float, ...] = (0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 7.0, 10.0, 20.0, 40.0)
    distance: float = 0.05
    device: str = "cpu"


def measured_error(neurons: int, patterns: int, degree: int | None, generator: torch.Generator, read: int, device: str = "cpu") -> float:
    """The share of neurons of stored patterns that one step would flip; ties count one half."""
    stored = random_patterns(patterns, neurons, generator, device)
    cost = dense_memory(stored, degree).flip_cost(stored[: max(1, math.ceil(read / neurons))])
    return float((cost < 0).double().mean() + (cost == 0).double().mean() / 2)


def measured_capacity(neurons: int, degree: int | None, generator: torch.Generator, read: int, device: str = "cpu") -> float:
    """The number of patterns with the error ``ERROR``, read off between two loads: NaN where a simulation found no errors at all."""
    errors = []
    for count in straddling(neurons, degree):
        # Few patterns have few neurons to read: then several memories are drawn.
        draws = max(1, math.ceil(read / (count * neurons)))
        errors.append(np.mean([measured_error(neurons, count, degree, generator, read, device) for _ in range(draws)]))
    return read_off(straddling(neurons, degree), errors)


@cache
def straddling(neurons: int, degree: int | None) -> tuple[int, ...]:
    """The numbers of patterns, on either side of the capacity, at which it is simulated."""
    return tuple(max(2, round(factor * critical_patterns(neurons, degree, ERROR))) for factor in _STRADDLE)


def read_off(counts: tuple[int, ...], errors: list[float]) -> float:
    """Where the error is ``ERROR``, if log of the normal quantile is linear in log of the number, as it is for normal noise."""
    if not all(0 < error < 0.5 for error in errors):
        return math.nan
    levels = np.log(-ndtri(errors))
    slope = (levels[1] - levels[0]) / math.log(counts[1] / counts[0])
    return counts[0] * math.exp((math.log(-ndtri(ERROR)) - levels[0]) / slope)


def unit_vectors(count: int, neurons: int, generator: torch.Generator, device: str = "cpu") -> Tensor:
    """Uniform on the unit sphere: (count, neurons) float64."""
    x = torch.randn(count, neurons, generator=generator, dtype=torch.float64).to(device)
    return x / x.norm(dim=1, keepdim=True)


def measured_sphere_capacity(neurons: int, kappa: float, targets: int, generator: torch.Generator, device: str = "cpu") -> float:
    """Patterns are added one by one until a target's softmax weight at itself falls below 1/2; the mean number over targets."""
    queries = unit_vectors(targets, neurons, generator, device)
    block = min(max(64, int(sphere_patterns(neurons, kappa) / 2)), 2**18)
    reached = torch.full((targets,), -1.0, dtype=torch.float64, device=device)
    total, drawn = torch.zeros(targets, dtype=torch.float64, device=device), 0
    while bool((reached < 0).any()):
        overlaps = unit_vectors(block, neurons, generator, device) @ queries.mT  # (patterns, targets)
        # In units of the target's own weight: the others have one half when they sum to one.
        sums = total + torch.exp(kappa * neurons * (overlaps - 1)).cumsum(0)
        crossed = (sums >= 1).to(torch.int8)
        first = crossed.argmax(0) + 1 + drawn
        reached = torch.where((reached < 0) & crossed.bool().any(0), first.to(reached.dtype), reached)
        total, drawn = sums[-1], drawn + block
    return float(reached.mean())


def stored_digits(count: int, generator: torch.Generator, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Balanced random digits (count, 64) and their labels."""
    images, labels = digit_patches(8)
    chosen = torch.randperm(len(images), generator=generator)[:count]
    return balanced(images[chosen].flatten(1).to(device)), labels[chosen].to(device)


def phases(config: Config, generator: torch.Generator) -> dict:
    """Fixed points of attention from every stored digit, at each inverse temperature, and one step from near it."""
    patterns, labels = stored_digits(config.digits, generator, config.device)
    critical = critical_inverse_temperature(patterns)
    direction = unit_vectors(len(patterns), patterns.shape[1], generator, config.device)
    same_class = (labels[:, None] == labels).to(patterns.dtype)
    found = {name: [] for name in ("effective", "own", "class", "distinct", "guaranteed", "error", "bound", "bound_pairs")}
    for factor in config.temperatures:
        beta = factor * critical
        weights = softmax_weights(patterns, beta, fixed_points(patterns, beta, patterns, tolerance=1e-7))
        found["effective"].append(effective_number(weights).median())
        found["own"].append(weights.diagonal().mean())
        found["class"].append((weights * same_class).sum(1).mean())
        # Fixed points are one where their weights agree to three digits: the steps end far closer to them.
        found["distinct"].append(len(torch.unique((1e3 * weights).round(), dim=0)))
        found["guaranteed"].append((retrieval_guarantee(patterns, beta) < 1).to(patterns.dtype).mean())
        stepped = modern_hopfield(patterns, beta).step(patterns + config.distance * direction, leak=True)
        found["error"].append((stepped - patterns).norm(dim=1).median())
        # No weight exceeds one, so the spread bounds the error too.
        for name, pairs in (("bound", False), ("bound_pairs", True)):
            found[name].append(torch.minimum(retrieval_bound(patterns, beta, config.distance, pairs), spread(patterns)).median())
    return {"critical": critical, **{name: torch.as_tensor(values).to(torch.float64) for name, values in found.items()}}


def trial(config: Config, seed: int) -> dict:
    """One seed of everything: errors and capacities of dense memories, capacities on the sphere, phases on digits."""
    generator = torch.Generator().manual_seed(seed)
    dense = {
        f"capacity_{name}": [measured_capacity(n, degree, generator, config.neurons_read, config.device) for n in sizes]
        for (name, degree), sizes in zip(ENERGIES.items(), config.sizes, strict=True)
    }
    errors = {
        f"error_{degree}": [measured_error(n, count, degree, generator, config.neurons_read, config.device) for count in patterns_at(config, degree, n)]
        for degree, n in zip((2, 3, 4), config.load_sizes, strict=True)
    }
    sphere = {
        f"sphere_{kappa:g}": [measured_sphere_capacity(n, kappa, config.targets, generator, config.device) for n in sizes]
        for kappa, sizes in zip(config.kappas, config.sphere_sizes, strict=True)
    }
    return {**dense, **errors, **sphere, **phases(config, generator)}


def patterns_at(config: Config, degree: int, neurons: int) -> list[int]:
    """The numbers of patterns that belong to the loads."""
    odd = math.prod(range(2 * degree - 3, 0, -2))
    return [max(2, round(load * neurons ** (degree - 1) / odd)) for load in config.loads]


def exponents(config: Config, trials: list[dict]) -> dict[str, tuple[float, float, float]]:
    """Slopes fitted to simulated capacities: name -> (mean over seeds, standard error, the same fit to the exact law).

    The exact law is read off between the same two loads as the simulation.

    For a power: of log K in log N; exponential: of log2 K in N; sphere: of log K in N.
    """
    found = {}
    for (name, degree), sizes in zip(ENERGIES.items(), config.sizes, strict=True):
        x = np.array(sizes, float) * math.log(2) if degree is None else np.log(sizes)
        pairs = [straddling(n, degree) for n in sizes]
        theory = [read_off(pair, [one_step_error(n, count, degree) for count in pair]) for n, pair in zip(sizes, pairs, strict=True)]
        found[name] = _slopes(x, [t[f"capacity_{name}"] for t in trials], theory)
    for kappa, sizes in zip(config.kappas, config.sphere_sizes, strict=True):
        theory = [sphere_patterns(n, kappa) for n in sizes]
        found[f"sphere_{kappa:g}"] = _slopes(np.array(sizes, float), [t[f"sphere_{kappa:g}"] for t in trials], theory)
    return found


def _slopes(x: np.ndarray, capacities: list, theory: list) -> tuple[float, float, float]:
    slopes = np.array([np.polyfit(x, np.log(one), 1)[0] for one in capacities])
    error = float(slopes.std(ddof=1) / math.sqrt(len(slopes))) if len(slopes) > 1 else 0.0
    return float(slopes.mean()), error, float(np.polyfit(x, np.log(theory), 1)[0])


def summarise(config: Config, trials: list[dict]) -> dict:
    """Slopes with their standard errors beside the exact law's, and how far errors are from it, in standard errors."""
    summary = {}
    for name, (mean, error, theory) in exponents(config, trials).items():
        summary |= {f"slope_{name}": mean, f"slope_{name}_error": error, f"slope_{name}_exact": theory}
    if len(trials) >= 8:  # a standard error from fewer seeds is no measure
        deviations = []
        for degree, n in zip((2, 3, 4), config.load_sizes, strict=True):
            errors = np.array([t[f"error_{degree}"] for t in trials])
            exact = np.array([one_step_error(n, count, degree) for count in patterns_at(config, degree, n)])
            deviations += list((errors.mean(0) - exact) / (errors.std(0, ddof=1) / math.sqrt(len(errors))))
        summary["error_deviation"] = float(np.abs(deviations).max())
    summary["critical"] = float(np.mean([t["critical"] for t in trials]))
    return summary


EXPERIMENT = Experiment(
    "memory.attention",
    version=1,
    scales={
        "smoke": Config(
            seeds=2, sizes=((25, 50), (15, 30), (12, 24), (14, 16)), load_sizes=(60, 30, 20), loads=(0.15, 0.3), neurons_read=4000,
            sphere_sizes=((8, 10), (6, 8), (5, 7)), targets=4, digits=60, temperatures=(0.5, 0.9, 1.6, 4.0, 20.0),
        ),
        "laptop": Config(seeds=16),
        "gpu": Config(
            seeds=64, sizes=((100, 200, 400, 800), (60, 120, 240, 480), (48, 96, 144, 192), (16, 18, 20, 22, 24)), load_sizes=(800, 240, 96),
            neurons_read=100000, sphere_sizes=((14, 18, 22, 26, 30, 34), (12, 14, 16, 18, 20, 22), (8, 10, 12, 14)), targets=64,
            digits=1797, device="cuda",
        ),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)  # fmt: skip
