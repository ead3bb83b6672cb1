"""Variants of the three-layer memory: a layer for each token, a gain for each entry, serial steps (page: book/memory/hopfield_mixer.md)."""

import torch
from torch import Tensor

from hopmix.arguments import check_finite, choice, number
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Kronecker, Layer, Synapse
from hopmix.memory.hopfield_mixer.compile import to_mixer_block
from hopmix.memory.lagrangian import LayerNorm


def layer_per_token(memory: HierarchicalMemory) -> HierarchicalMemory:
    """The memory with per-token LayerNorm, rewritten with one visible layer for each token.

    The layers "token_0", "token_1", … have shape (1, channels) and a joint LayerNorm each; the hidden layers are the same. Energy, velocity and
    steps agree, for the states of ``split_tokens``. The weights are views of the memory's, so a change of them in place is seen by both.

    Raises
    ------
    ValueError : the memory is no Mixer layer (see ``to_mixer_block``), or its norm is not per token.
    """
    to_mixer_block(memory)  # refuses what is no Mixer layer
    (visible,) = memory.dynamic_layers
    norm = visible.lagrangian
    if norm.axes != "token":
        raise ValueError(f"memory must have norm='token', since a joint LayerNorm couples the tokens; got {norm.axes!r}")
    tokens, channels = visible.shape
    shift = None if norm.shift is None else norm.shift.broadcast_to(tokens, channels)
    layers = [
        Layer(f"token_{i}", (1, channels), LayerNorm("joint", gain=norm.gain, shift=None if shift is None else shift[i], eps=norm.eps), visible.time_constant)
        for i in range(tokens)
    ]
    like = next(iter(memory.synapses[0].operator.state_dict().values()))
    unit = torch.eye(tokens, dtype=like.dtype, device=like.device)
    synapses = []
    for synapse in memory.synapses:
        for i in range(tokens):
            ways = [_for_token(operator, i, unit) for operator in (synapse.operator, synapse.returning)]
            synapses.append(Synapse(f"token_{i}", synapse.target, ways[0], None if synapse.symmetric else ways[1]))
    return HierarchicalMemory([*layers, *(layer for layer in memory.layers if layer.adiabatic)], synapses)


def split_tokens(x: Tensor) -> dict[str, Tensor]:
    """(batch, tokens, channels) as the state of ``layer_per_token``: "token_i" -> (batch, 1, channels). Raises TypeError and ValueError for other x."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, got {type(x).__name__}")
    if x.dim() != 3:
        raise ValueError(f"x must have shape (batch, tokens, channels), got {tuple(x.shape)}")
    return {f"token_{i}": token for i, token in enumerate(x.split(1, dim=1))}


def gain_in_synapses(memory: HierarchicalMemory, gain: Tensor) -> HierarchicalMemory:
    """The memory whose synapses carry a gain for each entry, Xi diag(gain): its drive is gain F(gain g), and symmetric again.

    Parameters
    ----------
    memory : symmetric, a Mixer layer (see ``to_mixer_block``).
    gain : (tokens, channels).

    The weights are copies, written out as dense matrices. Raises ValueError, TypeError : naming the argument, the value found and what is allowed.
    """
    to_mixer_block(memory)
    if not memory.symmetric:
        raise ValueError("memory must be symmetric, got one with feedback of its own")
    (visible,) = memory.dynamic_layers
    if not isinstance(gain, Tensor):
        raise TypeError(f"gain must be a torch.Tensor, got {type(gain).__name__}")
    if tuple(gain.shape) != visible.shape:
        raise ValueError(f"gain must have shape {visible.shape}, got {tuple(gain.shape)}")
    synapses = []
    for synapse in memory.synapses:
        weight = _dense(synapse.operator, visible.shape) * gain.flatten()
        synapses.append(Synapse(synapse.source, synapse.target, Dense(weight.detach())))
    return HierarchicalMemory(list(memory.layers), synapses)


def serial_step(memory: HierarchicalMemory, x: Tensor, step_size: float = 1.0, first: str = "token") -> Tensor:
    """One leakless step with the memory's branches one after the other, each with its own LayerNorm, as in the original Mixer.

    y = x + h T(g(x)), then y + h C(g(y)), with T the token branch and C the channel branch; with first="channel" the other way round.
    Shape: (batch, tokens, channels) to the same. Source: tolstikhin2021mlp (the order).
    Raises as ``to_mixer_block`` and the block do, and ValueError for an x that is not finite.
    """
    block, h = to_mixer_block(memory), number("step_size", step_size)
    branches = (block.token_mixing, block.channel_mixing)
    first = choice("first", first, ("token", "channel"))
    if isinstance(x, Tensor):
        check_finite("x", x)
    for branch in branches if first == "token" else branches[::-1]:
        x = x + h * branch(block.normalise(x))
    return x


def _for_token(operator: Kronecker, i: int, unit: Tensor) -> Kronecker:
    """The part of an operator that acts on one token."""
    if operator.token is not None:
        return Kronecker(token=operator.token[:, i : i + 1])
    return Kronecker(token=unit[:, i : i + 1], channel=operator.channel)


def _dense(operator: Kronecker, shape: tuple[int, int]) -> Tensor:
    first = operator.channel if operator.token is None else operator.token
    parts = [
        torch.eye(size, dtype=first.dtype, device=first.device) if matrix is None else matrix
        for matrix, size in zip((operator.token, operator.channel), shape, strict=True)
    ]
    return torch.kron(parts[0].contiguous(), parts[1].contiguous())
