"""What the chapter claims, measured (page: book/memory/hierarchical.md)."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from scipy.linalg import expm
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.memory.hierarchical.adaptive import solve
from hopmix.memory.hierarchical.examples import pair, random_memory, ring, rotor, slow_gelu
from hopmix.memory.hierarchical.experiment import EXPERIMENT, distances, trial_orders
from hopmix.memory.hierarchical.memory import HierarchicalMemory
from hopmix.memory.hierarchical.state import State

SEEDS = tuple(range(16))
_SIZES = {"a": 6, "b": 5, "c": 7, "d": 4}
_PAIRS = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")]
_TAUS = {"a": 0.5, "b": 1.0, "c": 2.0, "d": 0.0}


def _mixed(seed: int, symmetric: bool = False) -> HierarchicalMemory:
    """A loop of three layers and a fast one, of different kinds, one of them not convex."""
    kinds = {"a": "layer_norm", "b": "gelu", "c": "tanh", "d": "softmax"}
    return random_memory(_SIZES, kinds, _TAUS, _PAIRS, symmetric, gain=1.5, seed=seed)


def _linear(seed: int, symmetric: bool, gain: float = 1.0, adiabatic: bool = True) -> tuple[HierarchicalMemory, np.ndarray, np.ndarray]:
    """A linear memory, its stacked synapse matrix with the layers in order, and the time constants of the neurons."""
    taus = _TAUS if adiabatic else _TAUS | {"d": 0.2}
    memory = random_memory(_SIZES, dict.fromkeys(_SIZES, "quadratic"), taus, _PAIRS, symmetric, gain, seed)
    ends = np.cumsum([0, *_SIZES.values()])
    place = {name: slice(ends[k], ends[k + 1]) for k, name in enumerate(_SIZES)}
    matrix = np.zeros((ends[-1], ends[-1]))
    for s in memory.synapses:
        matrix[place[s.target], place[s.source]] += s.operator.weight.numpy()
        matrix[place[s.source], place[s.target]] += s.returning.weight.numpy().T
    return memory, matrix, np.repeat([taus[name] for name in _SIZES], list(_SIZES.values()))


def _starts(memory: HierarchicalMemory) -> State:
    """One random state for each seed, as a batch."""
    states = [memory.random_state(seed=seed) for seed in SEEDS]
    return torch.cat(states) if isinstance(states[0], Tensor) else {name: torch.cat([x[name] for x in states]) for name in states[0]}


def _flat(values: dict[str, Tensor]) -> np.ndarray:
    return torch.cat(list(values.values()), dim=-1).numpy()


def _energies(memory: HierarchicalMemory, states: dict[str, Tensor]) -> Tensor:
    """(times, batch) for states (times, batch, *shape)."""
    first = next(iter(states.values()))
    return memory.energy({name: x.flatten(0, 1) for name, x in states.items()}).reshape(first.shape[:2])


@claim(
    statement=r"$\dot E=-\tau\,\dot x\cdot H\dot x+\dot g\cdot\Xi^-g$ for any synapses, Lagrangians and time constants, with fast layers eliminated.",
    source="this book",
    kind="identity",
)
def energy_rate_any_synapses() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        memory = _mixed(seed)
        state = {name: x.requires_grad_(True) for name, x in memory.random_state(batch=8, seed=seed).items()}
        gradients = torch.autograd.grad(memory.energy(state).sum(), list(state.values()))
        velocity = memory.velocity(state)
        expected = sum((a * b).sum(1) for a, b in zip(gradients, velocity.values(), strict=True))
        size = sum(a.norm(dim=1) * b.norm(dim=1) for a, b in zip(gradients, velocity.values(), strict=True))
        worst = max(worst, float(((memory.energy_rate(state) - expected).abs() / size).max().detach()))
    return Evidence.at_most("largest difference to autograd's chain rule, relative to the lengths of gradient and velocity", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"The energy of a memory with eliminated layers is that of the memory with these layers in its state, taken where they equal their input.",
    source="this book",
    kind="identity",
)
def eliminated_energy() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        fast, slow = _mixed(seed), random_memory(_SIZES, {"a": "layer_norm", "b": "gelu", "c": "tanh", "d": "softmax"}, _TAUS | {"d": 0.1}, _PAIRS, gain=1.5, seed=seed)
        state = fast.random_state(batch=8, seed=seed)
        found, expected = fast.energy(state), slow.energy(fast.complete(state))
        worst = max(worst, float(((found - expected).abs() / expected.abs().max()).max()))
    return Evidence.at_most("largest relative difference", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"Symmetric synapses and convex Lagrangians: the energy falls along every flow tried, with time constants between 0 and 2.",
    source="krotov2021hierarchical",
    kind="simulation",
)
def convex_symmetric_descends() -> Evidence:
    worst = -math.inf
    for seed in SEEDS:
        kinds = {"a": "layer_norm", "b": "relu", "c": "tanh", "d": "softmax"}
        memory = random_memory(_SIZES, kinds, _TAUS, _PAIRS, symmetric=True, gain=1.5, seed=seed)
        _, states = memory.flow(memory.random_state(batch=8, seed=seed), 2.0, 80)
        energy = _energies(memory, states)
        worst = max(worst, float((energy.diff(dim=0) / energy.abs().amax(0)).max()))
    return Evidence.at_most("largest change of the energy between two of 81 points, relative", worst, 0.0, seeds=SEEDS)


@claim(
    statement=r"A symmetric linear memory is stable exactly if the largest eigenvalue of $\Xi$ is below 1, whatever the positive time constants.",
    source="this book",
    kind="theorem",
)
def linear_stability() -> Evidence:
    agree, count = 0, 0
    for seed in SEEDS:
        _, matrix, taus = _linear(seed, symmetric=True, adiabatic=False)
        for largest in (0.95, 1.05):
            scaled = matrix * largest / np.linalg.eigvalsh(matrix).max()
            for order in (taus, taus[::-1]):
                abscissa = np.linalg.eigvals((scaled - np.eye(len(scaled))) / order[:, None]).real.max()
                agree, count = agree + ((abscissa < 0) == (largest < 1)), count + 1
    return Evidence.at_least("share of memories scaled to 0.95 and to 1.05 for which the sign of the largest growth rate agrees", agree / count, 1.0, seeds=SEEDS)


@claim(
    statement=r"Symmetric and convex is not enough to converge: two linear neurons with $w=1.5$ lose energy for ever, and grow with rate $w-1$.",
    source="this book",
    kind="theorem",
)
def symmetric_convex_diverges() -> Evidence:
    memory = pair(1.5)
    states = solve(memory, _starts(memory), [0.0, 10.0, 20.0, 30.0], rtol=1e-10, atol=1e-12)
    total = (states["a"] + states["b"])[..., 0]
    worst = float(((total[-1] / total[-2]).log() / 10 - 0.5).abs().max())
    rise = float(_energies(memory, states).diff(dim=0).max())
    worst = worst if rise < 0 else math.inf
    return Evidence.at_most("largest difference of the rate of growth to w - 1, between t = 20 and 30; infinite if the energy rose anywhere", worst, 1e-8, seeds=SEEDS, detail=f"largest change of the energy {rise:.3g}")


@claim(
    statement="A slow hidden layer needs a convex Lagrangian: one linear and one GELU neuron, joined symmetrically, gain energy where GELU's slope is negative.",
    source="this book",
    kind="simulation",
)
def slow_gelu_rises() -> Evidence:
    memory = slow_gelu()
    hidden = torch.cat([-1.4 + 0.2 * torch.rand(1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in SEEDS])
    state = {"visible": torch.nn.functional.gelu(hidden), "hidden": hidden}  # the visible neuron is at rest
    energy = _energies(memory, memory.flow(state, 0.05, 20)[1])
    gains = (energy[-1] - energy[0]).tolist()
    return Evidence.at_least("smallest gain of energy up to t = 0.05", min(gains), 1e-12, seeds=SEEDS, detail=f"largest {max(gains):.2g}")


@claim(
    statement=r"Three linear neurons that inhibit each other in a ring with weight $-2$ run in a circle: after $2\pi/\sqrt3$ the state is back, and the energy never changed.",
    source="this book",
    kind="theorem",
)
def ring_cycles() -> Evidence:
    memory = ring()
    angle = torch.tensor([2 * math.pi * np.random.default_rng(seed).uniform() for seed in SEEDS], dtype=torch.float64)
    state = {str(k): torch.cos(angle + 2 * math.pi * k / 3)[:, None] for k in range(3)}
    states = solve(memory, state, np.linspace(0, 2 * math.pi / math.sqrt(3), 9), "DOP853", rtol=1e-11, atol=1e-12)
    worst = max(float((x[-1] - x[0]).abs().max()) for x in states.values())
    drift = float(_energies(memory, states).abs().max())
    return Evidence.at_most("largest distance from the start after one turn", worst, 1e-8, seeds=SEEDS, detail=f"largest energy on the way {drift:.1g}")


@claim(
    statement=r"With $\tanh$ neurons and weight $-3$ the ring has a limit cycle: flows from random states are still moving at $t=60$.",
    source="this book",
    kind="simulation",
)
def ring_limit_cycle() -> Evidence:
    memory = ring(-3.0, "tanh")
    _, states = memory.flow(_starts(memory), 60.0, 1200)
    late = states["0"][-200:, :, 0]  # 10 units of time, more than one turn
    ends = (late.amax(0) - late.amin(0)).tolist()
    spread = float(np.std(ends, ddof=1) / np.sqrt(len(ends)))
    return Evidence.at_least("smallest distance between the extremes of a neuron's state in the last 10 units of time", min(ends), 0.1, seeds=SEEDS, spread=spread, detail=f"largest {max(ends):.3f}")


@claim(
    statement=r"Asymmetric synapses do not forbid a falling energy: with $\Xi$ purely antisymmetric, $w$ and $-w$ between two linear neurons, it is $E_0e^{-2t}$.",
    source="this book",
    kind="theorem",
)
def asymmetric_energy_falls() -> Evidence:
    memory, times = pair(3.0, -3.0), np.linspace(0, 3, 13)
    states = solve(memory, _starts(memory), times, "DOP853", rtol=1e-12, atol=1e-13)
    energy = _energies(memory, states).numpy()
    worst = np.abs(energy / energy[0] / np.exp(-2 * times)[:, None] - 1).max()
    return Evidence.at_most("largest relative difference to the exponential, up to t = 3", worst, 1e-9, seeds=SEEDS)


@claim(
    statement="Nor does it forbid a rising one: two fast neurons whose echo is turned by 60 degrees make two visible ones run in circles on which the energy rises and falls.",
    source="this book",
    kind="simulation",
)
def rotor_energy_rises_and_falls() -> Evidence:
    memory = rotor(math.pi / 3, gain=4.0)
    _, states = memory.flow(_starts(memory), 20.0, 400)
    late = memory.energy(states[200:].flatten(0, 1)).reshape(-1, len(SEEDS)).diff(dim=0)
    shares = (late > 0).double().mean(0).numpy()
    return Evidence.between("share of the steps at late times in which the energy rises", float(np.mean(shares)), 0.05, 0.95, seeds=SEEDS, spread=float(np.std(shares, ddof=1) / 4))


@claim(
    statement="The adaptive flow of a linear memory is the matrix exponential, with a fast layer eliminated.",
    source="this book",
    kind="identity",
)
def adaptive_flow() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        memory, matrix, taus = _linear(seed, symmetric=False)
        kept = taus > 0
        reduced = matrix[np.ix_(kept, kept)] + matrix[np.ix_(kept, ~kept)] @ matrix[np.ix_(~kept, kept)]
        generator = (reduced - np.eye(kept.sum())) / taus[kept][:, None]
        state = memory.random_state(batch=3, seed=seed)
        found = solve(memory, state, [0.0, 1.0], rtol=1e-10, atol=1e-12)
        expected = _flat(state) @ expm(generator).T
        worst = max(worst, np.abs(_flat({name: x[-1] for name, x in found.items()}) - expected).max() / np.abs(expected).max())
    return Evidence.at_most("largest relative difference at t = 1, scipy's tolerance 1e-10", worst, 1e-8, seeds=SEEDS)


@claim(statement="Explicit Euler steps are of first order in their length, the Runge-Kutta steps of ``flow`` of fourth.", source="this book", kind="identity")
def orders() -> Evidence:
    found = {1: [], 4: []}
    for seed in SEEDS:
        memory = _mixed(seed)
        state = memory.random_state(batch=2, seed=seed)
        exact = {name: x[-1] for name, x in solve(memory, state, [0.0, 0.5], "DOP853", rtol=1e-13, atol=1e-13).items()}
        # Each order is read off where the error is far above rounding and its leading term dominates.
        for order, counts in ((1, (64, 128, 256)), (4, (16, 32, 64))):
            errors = []
            for steps in counts:
                end = memory.advance(state, [0.5 / steps] * steps, leak=True) if order == 1 else {name: x[-1] for name, x in memory.flow(state, 0.5, steps)[1].items()}
                errors.append(np.abs(_flat(end) - _flat(exact)).max())
            slopes = np.log2(np.divide(errors[:-1], errors[1:]))
            found[order].append(2 * slopes[-1] - slopes[-2])
    means = {order: float(np.mean(values)) for order, values in found.items()}
    worst = max(abs(mean - order) for order, mean in means.items())
    return Evidence.at_most("larger difference of the mean measured order to 1 and to 4", worst, 0.1, seeds=SEEDS, detail=f"measured {means[1]:.3f} and {means[4]:.3f}")


@cache
def _limits() -> tuple[dict, ...]:
    config = replace(EXPERIMENT.scales["laptop"], batch=2, time=0.5, fast_time_constants=(0.04, 0.02, 0.01))
    return tuple(trial_orders(config, distances(config, seed)) for seed in SEEDS)


def _mean(name: str) -> tuple[float, float]:
    values = np.array([one[name] for one in _limits()])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


@claim(
    statement=r"Fast layers with time constant $\theta$, started at their input, leave a distance to the adiabatic flow of first order in $\theta$.",
    source="this book",
    kind="simulation",
)
def adiabatic_order() -> Evidence:
    mean, spread = _mean("adiabatic_order")
    return Evidence.between("mean order, extrapolated from three time constants", mean, 0.95, 1.05, seeds=SEEDS, spread=spread)


@claim(
    statement=r"The coefficient of $\theta$ in that distance is the one that the effective time constant predicts.",
    source="this book",
    kind="simulation",
)
def adiabatic_coefficient() -> Evidence:
    mean, spread = _mean("coefficient")
    return Evidence.between("mean of measured over predicted coefficient, extrapolated", mean, 0.99, 1.01, seeds=SEEDS, spread=spread)


@claim(statement=r"With the effective time constant the distance is of second order in $\theta$.", source="this book", kind="simulation")
def corrected_order() -> Evidence:
    mean, spread = _mean("corrected_order")
    return Evidence.between("mean order, extrapolated from three time constants", mean, 1.9, 2.1, seeds=SEEDS, spread=spread)
