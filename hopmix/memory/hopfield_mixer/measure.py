"""Measurements behind the chapter's claims on variants of the memory (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.hopfield_mixer.compile import to_mixer_block
from hopmix.memory.hopfield_mixer.three_layer import three_layer_memory
from hopmix.memory.hopfield_mixer.variants import gain_in_synapses, serial_step
from hopmix.memory.lagrangian import lagrangian

_SIZES = {"tokens": 4, "channels": 6, "token_hidden": 12, "channel_hidden": 10}


def random_memory(seed: int) -> HierarchicalMemory:
    """Five layers of different kinds with independent random synapses in both directions between all pairs."""
    generator = torch.Generator().manual_seed(seed)
    kinds = ("layer_norm", "gelu", "softmax", "tanh", "quadratic")
    layers = [Layer(kind, (4 + k,), lagrangian(kind), 0.3 + 0.4 * k) for k, kind in enumerate(kinds)]

    def dense(source: Layer, target: Layer) -> Dense:
        return Dense(torch.randn(*target.shape, *source.shape, generator=generator, dtype=torch.float64) / 3)

    pairs = [(a, b) for k, a in enumerate(layers) for b in layers[k + 1 :]]
    return HierarchicalMemory(layers, [Synapse(a.name, b.name, dense(a, b), dense(a, b)) for a, b in pairs])


def _memory(seed: int) -> HierarchicalMemory:
    return three_layer_memory(**_SIZES, eps=0.0, seed=seed).requires_grad_(False)


def _gain(seed: int) -> Tensor:
    """1 + 0.3 normal: (tokens, channels)."""
    generator = torch.Generator().manual_seed(seed)
    return 1 + 0.3 * torch.randn(_SIZES["tokens"], _SIZES["channels"], generator=generator, dtype=torch.float64)


def _jacobian(function, x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(function, x).reshape(x.numel(), x.numel())


def _asymmetry(jacobian: Tensor) -> float:
    return float((jacobian - jacobian.T).norm() / (2 * jacobian.norm()))


def gain_asymmetry(seed: int) -> tuple[float, float]:
    """Error of the formula for the antisymmetric part of LayerNorm's Jacobian with an elementwise gain, and that part; both relative to the Jacobian."""
    x, gain, eps = torch.randn(_SIZES["tokens"], _SIZES["channels"], generator=torch.Generator().manual_seed(seed), dtype=torch.float64), _gain(seed), 0.1
    jacobian = _jacobian(lambda v: gain * torch.nn.functional.layer_norm(v, v.shape, eps=eps), x)
    rho = (x.var(correction=0) + eps).sqrt()
    z, flat = ((x - x.mean()) / rho).flatten(), gain.flatten()
    formula = -(flat[:, None] - flat) / (x.numel() * rho) * (1 + z[:, None] * z)
    return float((jacobian - jacobian.T - formula).norm() / jacobian.norm()), _asymmetry(jacobian)


def two_sided_asymmetry(seed: int) -> tuple[float, float]:
    """Antisymmetric part of the drive's Jacobian in the normalised state, with the gain before the branches alone and on both sides."""
    memory, gain = _memory(seed), _gain(seed)
    block, both = to_mixer_block(memory), gain_in_synapses(memory, gain)
    x = memory.random_state(batch=1, seed=seed)
    z = block.normalise(x)

    def drive(v: Tensor) -> Tensor:
        g = gain * v
        return block.token_mixing(g) + block.channel_mixing(g)

    def drive_both(v: Tensor) -> Tensor:
        hidden = {s.target: s.operator(v).reshape(1, *both.layer(s.target).shape) for s in both.synapses}
        return sum(s.operator.adjoint(both.layer(s.target).lagrangian.activation(hidden[s.target])) for s in both.synapses).reshape(v.shape)

    return _asymmetry(_jacobian(drive, z)), _asymmetry(_jacobian(drive_both, z))


@torch.no_grad()
def largest_rise_with_gain(seed: int, two_sided: bool, steps: int = 200) -> float:
    """Largest change of the interaction between two points of eight flows with an elementwise gain, in units of the energy."""
    memory, gain = _memory(seed), _gain(seed)
    both = gain_in_synapses(memory, gain)
    block, x = to_mixer_block(memory), memory.random_state(batch=8, seed=seed)

    def velocity(state: Tensor) -> Tensor:
        g = gain * block.normalise(state)
        return block.token_mixing(g) + block.channel_mixing(g) - state

    if two_sided:
        _, states = both.flow(x, 20.0, steps)
    else:
        visited, h = [x], 20.0 / steps
        for _ in range(steps):
            k1 = velocity(x)
            k2 = velocity(x + h / 2 * k1)
            k3 = velocity(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + velocity(x + h * k3))
            visited.append(x)
        states = torch.stack(visited)
    # At eps = 0 the energy of the memory with the gain in its synapses is the interaction at gain times the normalised state.
    energy = both.energy(states.flatten(0, 1)).reshape(len(states), -1)
    return float(energy.diff(dim=0).max() / energy.abs().max())


@cache
def serial_rises(seed: int) -> dict:
    """Four flows run to rest; changes of the energy there in a serial and in a parallel block, in units of the energy; the order of the serial one."""
    memory = _memory(seed)
    start = memory.random_state(batch=4, seed=seed)
    x = rest(memory, start)
    energy = memory.energy(x)

    def rise(state: Tensor, h: float) -> Tensor:
        before = memory.energy(state)
        return (memory.energy(serial_step(memory, state, h)) - before) / before.abs()

    rises = np.array([float(rise(x, h)[0]) for h in (0.1, 0.05, 0.025)])
    slopes = np.diff(np.log(np.abs(rises))) / -np.log(2)
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(lambda v: memory.energy(v[None])[0], x[0]).reshape(24, 24))
    eigenvalues = eigenvalues[eigenvalues.abs().argsort()][2:]  # without the two directions, constants and the state, that change no activation
    return {
        "serial": rise(x, 1.0).numpy(),
        "parallel": ((memory.energy(memory.step(x)) - energy) / energy.abs()).numpy(),
        "random": int((rise(start, 1.0) > 0).sum()),
        "order": float(2 * slopes[1] - slopes[0]),
        "curvature": float(eigenvalues.min() / eigenvalues.max()),
    }


def rest(memory: HierarchicalMemory, state: Tensor, tolerance: float = 1e-13, most: int = 200) -> Tensor:
    """The state at which the flow comes to rest. Raises ArithmeticError with the residual where it does not."""
    for _ in range(most):
        residual = float(memory.velocity(state).abs().max() / state.abs().max())
        if residual < tolerance:
            return state
        state = memory.flow(state, 20.0, 40)[1][-1]
    raise ArithmeticError(f"the flow has not come to rest: relative velocity {residual:.1e} after time {20 * most}")
