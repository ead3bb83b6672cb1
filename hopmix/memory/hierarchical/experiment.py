"""Fast layers, eliminated or not: the distance between the flows, and what each costs (page: book/memory/hierarchical.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.hierarchical.adaptive import solve
from hopmix.memory.hierarchical.adiabatic import lagging_velocity
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.memory.hierarchical.examples import random_memory
from hopmix.memory.hierarchical.integrate import rk4_step
from hopmix.memory.hierarchical.memory import HierarchicalMemory
from hopmix.memory.hierarchical.state import combine

FAST = ("gelu", "softmax")
PAIRS = [("visible", "gelu"), ("visible", "softmax"), ("visible", "slow"), ("slow", "gelu")]


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one draw of weights and of `batch` starting states.

    fast_time_constants: theta of the two fast layers, each half the one before; flows run up to `time`, by Runge-Kutta steps of at most
    `step` and of at most `share` of theta. Costs are for one state and scipy's tolerance `rtol`.
    """

    seeds: int
    visible: int = 12
    gelu: int = 24
    softmax: int = 10
    slow: int = 6
    gain: float = 1.0
    batch: int = 4
    time: float = 1.0
    step: float = 0.025
    share: float = 0.5
    fast_time_constants: tuple[float, ...] = (0.08, 0.04, 0.02, 0.01)
    stiff_time_constants: tuple[float, ...] = (0.1, 0.01, 0.002)
    rtol: float = 1e-4
    device: str = "cpu"


def memory_of(config: Config, seed: int, theta: float = 0.0) -> HierarchicalMemory:
    """Visible and slow layers with a state, two fast ones, any synapses: nothing is symmetric, and GELU is not convex."""
    sizes = {"visible": config.visible, "gelu": config.gelu, "softmax": config.softmax, "slow": config.slow}
    kinds = {"visible": "tanh", "gelu": "gelu", "softmax": "softmax", "slow": "tanh"}
    return random_memory(sizes, kinds, {"slow": 0.6, "gelu": theta, "softmax": theta}, PAIRS, gain=config.gain, seed=seed, device=config.device)


def visible_flow(velocity, state: dict[str, Tensor], time: float, steps: int, keep: int) -> Tensor:
    """The visible layer at keep + 1 equal times: (keep + 1, batch, visible)."""
    visited = [state["visible"]]
    for n in range(1, steps + 1):
        state = rk4_step(velocity, state, time / steps)
        if n % (steps // keep) == 0:
            visited.append(state["visible"])
    return torch.stack(visited)


def distances(config: Config, seed: int, times: int = 10) -> dict:
    """How far the visible state of the full flow is from the eliminated one, from the corrected one, and how far it should be.

    All are the largest over time of the root mean square over batch and neurons. The fast layers start at their input.
    """
    fast = memory_of(config, seed)
    start = fast.random_state(config.batch, seed=seed)
    base = times * round(config.time / config.step / times)
    reference = visible_flow(fast.velocity, start, config.time, base, times)
    predicted = largest(_first_order(fast, start, config.time, base, times))
    full, corrected = [], []
    for theta in config.fast_time_constants:
        slow = memory_of(config, seed, theta)
        steps = max(base, times * int(np.ceil(config.time / (config.share * theta) / times)))
        complete = fast.complete(start)
        simulated = visible_flow(slow.velocity, {layer.name: complete[layer.name] for layer in slow.layers}, config.time, steps, times)
        thetas = dict.fromkeys(FAST, theta)
        lagging = visible_flow(lambda x, thetas=thetas: lagging_velocity(fast, x, thetas), start, config.time, base, times)
        full.append(largest(simulated - reference))
        corrected.append(largest(simulated - lagging))
    return {"adiabatic": torch.stack(full), "corrected": torch.stack(corrected), "slope": predicted}


def largest(difference: Tensor) -> Tensor:
    """(times, batch, neurons): the root mean square at the time where it is largest."""
    return difference.square().mean((1, 2)).sqrt().max()


def _first_order(fast: HierarchicalMemory, start: dict[str, Tensor], time: float, steps: int, keep: int) -> Tensor:
    """The derivative of the visible flow by theta at theta = 0: (keep + 1, batch, visible), by forward differentiation of the corrected flow.

    The corrected velocity is linear in theta, so a difference of two flows with thetas of opposite sign has an error of third order; the
    derivative is exact up to rounding and that error, about 1e-9.
    """
    shift = 1e-5

    def moved(sign: float):
        def velocity(x):
            plain, lagging = fast.velocity(x), lagging_velocity(fast, x, dict.fromkeys(FAST, 1.0))
            return combine(lambda p, q: p + sign * shift * (q - p), plain, lagging)

        return velocity

    ahead, behind = (visible_flow(moved(sign), start, time, steps, keep) for sign in (1.0, -1.0))
    return (ahead - behind) / (2 * shift)


class Counter(HierarchicalMemory):
    """The memory of the same layers and synapses, which counts how many velocities of one sample it is asked for."""

    def __init__(self, memory: HierarchicalMemory):
        super().__init__(memory.layers, memory.synapses)
        self.evaluations = 0

    def velocity(self, state, leak: bool = True):
        self.evaluations += len(state if isinstance(state, Tensor) else next(iter(state.values())))
        return super().velocity(state, leak)


def costs(config: Config, seed: int) -> dict:
    """Velocities that solvers ask for up to `time`, with the fast layers in the state and without."""
    fast = memory_of(config, seed)
    start = fast.random_state(1, seed=seed)
    found = {"RK45": [], "BDF": [], "eliminated": []}
    for theta in config.stiff_time_constants:
        slow, complete = memory_of(config, seed, theta), fast.complete(start)
        state = {layer.name: complete[layer.name] for layer in slow.layers}
        for name, memory, x, method in (("RK45", slow, state, "RK45"), ("BDF", slow, state, "BDF"), ("eliminated", fast, start, "RK45")):
            counter = Counter(memory)
            try:
                solve(counter, x, (0.0, config.time), method, rtol=config.rtol, atol=config.rtol)
            except NotConverged as error:
                raise NotConverged(f"{name} at theta = {theta:g}, seed {seed}", error.residual, error.iterations) from error
            found[name].append(float(counter.evaluations))
    return {f"cost_{name}": values for name, values in found.items()}


def trial_orders(config: Config, found: dict) -> dict:
    """The powers of theta with which the distances vanish, and the measured over the predicted coefficient."""
    thetas = np.array(config.fast_time_constants)
    adiabatic, corrected = (found[name].cpu().numpy() for name in ("adiabatic", "corrected"))
    return {
        "coefficient": _extrapolated(adiabatic / (thetas * float(found["slope"]))),
        "adiabatic_order": _order(thetas, adiabatic),
        "corrected_order": _order(thetas, corrected),
    }


def trial(config: Config, seed: int) -> dict:
    found = distances(config, seed)
    return {**found, **trial_orders(config, found), **costs(config, seed)}


def _extrapolated(values: np.ndarray) -> float:
    """The limit of values whose error halves from one to the next."""
    return float(2 * values[-1] - values[-2])


def _order(thetas: np.ndarray, errors: np.ndarray) -> float:
    """The power with which errors vanish: the slopes between thetas that halve, extrapolated."""
    return _extrapolated(np.diff(np.log(errors)) / np.diff(np.log(thetas)))


def summarise(config: Config, trials: list[dict]) -> dict:
    """Means over the seeds and their standard errors."""
    summary = {}
    for name in ("coefficient", "adiabatic_order", "corrected_order"):
        values = np.array([one[name] for one in trials])
        summary |= {name: float(values.mean()), f"{name}_error": float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0}
    return summary


EXPERIMENT = Experiment(
    "memory.hierarchical",
    version=1,
    scales={
        "smoke": Config(seeds=2, batch=2, fast_time_constants=(0.04, 0.02, 0.01), stiff_time_constants=(0.1, 0.01)),
        "laptop": Config(seeds=16),
        "gpu": Config(
            seeds=64, visible=512, gelu=2048, softmax=512, slow=256, batch=64, device="cuda",
            fast_time_constants=(0.08, 0.04, 0.02, 0.01, 0.005, 0.0025),
        ),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)  # fmt: skip
