"""How much the energy falls in one step: the exact terms, the bound, the largest safe step (page: book/memory/descent.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.hierarchical import HierarchicalMemory, Kronecker, Operator
from hopmix.memory.lagrangian import GELU, Lagrangian, LayerNorm

# -min f' of GELU, at u = -sqrt 2; equation descent-concavity of the page.
GELU_CONCAVITY = (math.erf(1) - 1) / 2 + math.exp(-1) / math.sqrt(math.pi)


class NoDescentGuarantee(ValueError):
    """The theorem says nothing about this memory; the message gives the reason."""


@dataclass(frozen=True)
class Descent:
    """One step of a memory, sample by sample; every field is (batch,).

    before, after : the function that falls: with leak the energy E, without it E less the visible layer's own energy.
    work : what LayerNorm makes certain of: after = before - work - bregman, exactly. Not negative for 0 < h (with leak: h <= 1).
    bregman : how far the hidden Lagrangians lie above their tangents; not negative where they are convex.
    bound : concavity / 2 |dg|^2 - work, which after - before never exceeds.
    safety : (rho' + a rho) / (h gain concavity), a = 1 - h with leak and 1 without, the least over the normalised groups;
        at 1 or more the energy cannot rise. Where all hidden Lagrangians are convex it is
        infinite, and negative infinite where rho' + a rho < 0, as it may be for leaky steps beyond 1.
    """

    before: Tensor
    after: Tensor
    work: Tensor
    bregman: Tensor
    bound: Tensor
    safety: Tensor

    @property
    def change(self) -> Tensor:
        """after - before: (batch,)."""
        return self.after - self.before


def descent_bound(memory: HierarchicalMemory, state: Tensor, step_size: float = 1.0, leak: bool = False) -> Descent:
    """What one ``memory.step(state, step_size, leak)`` does to the energy, and what it can do at worst.

    Parameters
    ----------
    memory : one visible layer with a LayerNorm of positive gain, adiabatic hidden layers, symmetric synapses. Hidden Lagrangians
        are convex, or GELU's.
    state : (batch, *visible shape).
    step_size : positive. With leak the step is (1 - h) x + h F, without it x + h F, and h = step_size / time constant.

    The terms are derived on the page, where they are proved exact; the error is that of rounding.

    Raises
    ------
    NoDescentGuarantee : asymmetric synapses, a second layer with a state, a visible layer without LayerNorm or with a gain that
        is not positive, a hidden Lagrangian whose lowest curvature is not known.
    TypeError, ValueError, FloatingPointError : as ``memory.step`` does; a step size that is not positive.
    """
    norm, hidden = _parts(memory, leak)
    step_size = number("step_size", step_size, "positive")
    (visible,) = memory.dynamic_layers
    h = step_size / visible.time_constant
    a = 1 - h if leak else 1.0
    following = memory.step(state, step_size, leak)
    z, rho, own = _normalised(norm, state)
    z_next, rho_next, own_next = _normalised(norm, following)
    count = math.prod(norm.normalised_shape(visible.shape))
    moved = (z_next - z).square().sum(-1)  # (batch, groups), up to the gain's square
    # eps acts as one more entry of the state, sqrt(N eps), that no step changes.
    constant = count * norm.eps * (1 / rho - 1 / rho_next).square()
    work = ((rho_next + a * rho) * norm.gain / (2 * h) * (moved + constant)).sum(1)
    stiffness = concavity(memory)
    first, second = memory.complete(state), memory.complete(following)
    bregman = sum(layer.lagrangian.divergence(second[layer.name], first[layer.name]) for layer in hidden)
    potential = [-sum(layer.lagrangian.value(x[layer.name]) for layer in hidden) for x in (first, second)]
    if leak:
        potential = [potential[0] + own, potential[1] + own_next]
    squared = norm.gain.square() * moved.sum(1)
    force = ((rho_next + a * rho) / (h * norm.gain)).amin(1)
    # Nothing is concave at stiffness zero, but a leaky step beyond 1 may still raise the energy.
    safety = force / stiffness if stiffness > 0 else torch.full_like(force, math.inf).where(force >= 0, -math.inf)
    return Descent(*potential, work, bregman, stiffness / 2 * squared - work, safety)


def largest_safe_step(memory: HierarchicalMemory, state: Tensor, leak: bool = False) -> Tensor:
    """The step size up to which no step from the state can raise the energy, by the theorem: (batch,).

    Infinite where every step is safe: without leak when all hidden Lagrangians are convex, or when the drive varies so much over
    the entries that the state outgrows the concavity. Larger steps may still lower the energy; they are not guaranteed to.

    Source: equation descent-safe-step of the page. Raises as ``descent_bound`` does.
    """
    norm, _ = _parts(memory, leak)
    (visible,) = memory.dynamic_layers
    direction = memory.velocity(state, leak=leak) * visible.time_constant
    _, rho, _ = _normalised(norm, state)
    centred, moving = _grouped(norm, state), _grouped(norm, direction)
    centred, moving = centred - centred.mean(-1, keepdim=True), moving - moving.mean(-1, keepdim=True)
    along, spread = (centred * moving).mean(-1), moving.square().mean(-1)
    need = norm.gain * concavity(memory) + (rho if leak else 0)
    need = need.expand_as(rho) if isinstance(need, Tensor) else torch.full_like(rho, need)
    room = need.square() - spread
    steps = 2 * (need * rho + along) / room
    steps = torch.where(room > 0, steps, math.inf)
    return steps.amin(1) * visible.time_constant


def concavity(memory: HierarchicalMemory) -> float:
    """How concave the hidden Lagrangians make the interaction at most: the sum over hidden layers of m |Xi|^2.

    m is minus the lowest curvature of the layer's Lagrangian, 0 where it is convex, and |Xi| the spectral norm of its synapse. For the two
    Kronecker synapses of a Mixer the sum is exactly m |Xi|^2 of the stacked matrix, and |Xi|^2 = |W|^2 + |V|^2.

    Raises NoDescentGuarantee as ``descent_bound`` does.
    """
    _, hidden = _parts(memory)
    lowest = {layer.name: _lowest_curvature(layer.lagrangian, layer.name) for layer in hidden}
    total = 0.0
    for synapse in memory.synapses:
        end = synapse.target if synapse.target in lowest else synapse.source
        if lowest[end]:
            total += lowest[end] * _squared_norm(synapse.operator)
    return total


def _parts(memory: HierarchicalMemory, leak: bool = False) -> tuple[LayerNorm, list]:
    """The visible Lagrangian and the hidden layers of a memory that the theorem covers."""
    if not isinstance(leak, bool):
        raise TypeError(f"leak must be True or False, got {leak!r}")
    if not isinstance(memory, HierarchicalMemory):
        raise TypeError(f"memory must be a HierarchicalMemory, got {type(memory).__name__}; block_memory makes one of a tied block")
    if not memory.symmetric:
        names = ", ".join(f"{s.source!r} -> {s.target!r}" for s in memory.synapses if not s.symmetric)
        raise NoDescentGuarantee(f"memory must have symmetric synapses, one operator both ways, but {names} has a feedback of its own: its drive is no gradient")
    if len(memory.dynamic_layers) != 1:
        names = ", ".join(f"{layer.name} (time constant {layer.time_constant:g})" for layer in memory.dynamic_layers)
        raise NoDescentGuarantee(f"memory must have one layer with a state and adiabatic hidden layers (time constant 0), but these have a state: {names}")
    norm = memory.dynamic_layers[0].lagrangian
    if not isinstance(norm, LayerNorm):
        raise NoDescentGuarantee(f"memory must have a visible layer with a LayerNorm, got {norm}")
    if not bool(norm.gain > 0):
        raise NoDescentGuarantee(f"memory must have a LayerNorm of positive gain, else its Lagrangian is not convex; got gain {float(norm.gain.detach()):g}")
    hidden = [layer for layer in memory.layers if layer.adiabatic]
    return norm, hidden


def _lowest_curvature(lagrangian: Lagrangian, name: str) -> float:
    if lagrangian.convex:
        return 0.0
    if isinstance(lagrangian, GELU):
        return GELU_CONCAVITY
    raise NoDescentGuarantee(f"memory must have hidden Lagrangians that are convex, or GELU; the lowest curvature of {lagrangian} of layer {name!r} is not known here")


def _squared_norm(operator: Operator) -> float:
    """Square of the spectral norm; that of a Kronecker product is the product of the squares."""
    matrices = (operator.token, operator.channel) if isinstance(operator, Kronecker) else (operator.weight,)
    return math.prod(float(torch.linalg.matrix_norm(matrix.detach().double(), 2)) ** 2 for matrix in matrices if matrix is not None)


def _grouped(norm: LayerNorm, x: Tensor) -> Tensor:
    """(batch, groups, entries): the entries that are normalised together."""
    return x.flatten(1).unsqueeze(1) if norm.axes == "joint" else x.flatten(1, -2) if x.dim() > 2 else x.unsqueeze(1)


def _normalised(norm: LayerNorm, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z = (x - mean) / rho (batch, groups, entries), rho (batch, groups), and the visible layer's own energy (batch,)."""
    grouped = _grouped(norm, x)
    centred = grouped - grouped.mean(-1, keepdim=True)
    rho = (centred.square().mean(-1) + norm.eps).sqrt()
    return centred / rho.unsqueeze(-1), rho, norm.legendre(x)
