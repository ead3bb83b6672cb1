"""Small memories that show what an energy guarantees and what it does not (page: book/memory/hierarchical.md)."""

import math

import torch
from torch import Tensor

from hopmix.arguments import generator, number
from hopmix.memory.hierarchical.layer import Layer
from hopmix.memory.hierarchical.memory import HierarchicalMemory
from hopmix.memory.hierarchical.operators import Dense
from hopmix.memory.hierarchical.synapse import Synapse
from hopmix.memory.lagrangian import GELU, Lagrangian, Quadratic, Tanh, lagrangian


def pair(forward: float, backward: float | None = None) -> HierarchicalMemory:
    """Two linear neurons, layers "a" and "b" of one unit: b receives forward * a, and a receives backward * b.

    Without ``backward`` the synapse is symmetric; the energy is then unbounded below for |forward| > 1. Raises TypeError and ValueError
    for weights that are no finite numbers.
    """
    forward = number("forward", forward)
    feedback = None if backward is None else Dense(_one(number("backward", backward)))
    layers = [Layer("a", (1,), Quadratic()), Layer("b", (1,), Quadratic())]
    return HierarchicalMemory(layers, [Synapse("a", "b", Dense(_one(forward)), feedback)])


def ring(weight: float = -2.0, kind: str | Lagrangian = "quadratic") -> HierarchicalMemory:
    """Three neurons, layers "0", "1", "2" of one unit: each drives the next with ``weight``, and nothing goes back.

    Linear ones run in a circle of constant energy at -2; with kind "tanh" and a weight below -2 every state but the origin's stable
    directions ends on a limit cycle. Raises TypeError and ValueError as ``number`` and ``lagrangian`` do.
    """
    weight = _one(number("weight", weight))
    layers = [Layer(str(k), (1,), lagrangian(kind)) for k in range(3)]
    one_way = [Synapse(str(k), str((k + 1) % 3), Dense(weight), Dense(torch.zeros_like(weight))) for k in range(3)]
    return HierarchicalMemory(layers, one_way)


def rotor(angle: float, gain: float = 2.0) -> HierarchicalMemory:
    """Two visible neurons whose echo from two fast hidden ones comes back turned: dx/dt = w R tanh(w x) - x with w^2 = gain.

    angle : of the rotation R, in radians. At 0 the memory is symmetric and has its four minima near the corners of a square; where R is
        neither 0 nor a half turn, it runs in circles for large angles with gain * cos(angle) > 1.

    Raises TypeError and ValueError : angle is no finite number, gain is not positive.
    """
    angle, weight = number("angle", angle), math.sqrt(number("gain", gain, "positive"))
    cos, sin = weight * math.cos(angle), weight * math.sin(angle)
    forward = Dense(weight * torch.eye(2, dtype=torch.float64))
    feedback = Dense(torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)) if angle != 0 else None
    layers = [Layer("visible", (2,), Quadratic()), Layer("hidden", (2,), Tanh(), 0.0)]
    return HierarchicalMemory(layers, [Synapse("visible", "hidden", forward, feedback)])


def slow_gelu(time_constant: float = 1.0) -> HierarchicalMemory:
    """One linear visible neuron and one hidden GELU neuron with a state of its own, joined by a synapse of weight 1."""
    layers = [Layer("visible", (1,), Quadratic()), Layer("hidden", (1,), GELU(), number("time_constant", time_constant, "positive"))]
    return HierarchicalMemory(layers, [Synapse("visible", "hidden", Dense(_one(1.0)))])


def random_memory(
    sizes: dict[str, int],
    kinds: dict[str, str],
    time_constants: dict[str, float],
    pairs: list[tuple[str, str]],
    symmetric: bool = False,
    gain: float = 1.0,
    seed: int | torch.Generator = 0,
    device: torch.device | str | None = None,
) -> HierarchicalMemory:
    """Layers of these sizes, kinds of Lagrangian and time constants, each pair joined by normal weights of variance gain^2 / source size.

    Drawn in float64 on the CPU: one seed is one memory on every device. Time constants that are not given are 1.

    Raises TypeError and ValueError : names that ``sizes`` lacks or ``kinds`` does not cover, and as the parts do.
    """
    stream, gain = generator(seed), number("gain", gain)
    if set(kinds) != set(sizes):
        raise ValueError(f"kinds must name the layers of sizes, {', '.join(sizes)}, got {', '.join(kinds) or 'none'}")
    for named, names in (("time_constants", time_constants), ("pairs", [end for ends in pairs for end in ends])):
        if unknown := [str(name) for name in names if name not in sizes]:
            raise ValueError(f"{named} names {', '.join(unknown)}; the layers of sizes are {', '.join(sizes)}")
    layers = [Layer(name, (sizes[name],), lagrangian(kinds[name]), time_constants.get(name, 1.0)) for name in sizes]

    def dense(source: str, target: str) -> Dense:
        scale = gain / math.sqrt(sizes[source])
        return Dense((scale * torch.randn(sizes[target], sizes[source], generator=stream, dtype=torch.float64)).to(device))

    return HierarchicalMemory(layers, [Synapse(a, b, dense(a, b), None if symmetric else dense(a, b)) for a, b in pairs])


def _one(value: float) -> Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)
