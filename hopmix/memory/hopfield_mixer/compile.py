"""From a memory to the Mixer block that takes its steps (page: book/memory/hopfield_mixer.md)."""

import torch
from torch import Tensor

from hopmix.memory.hierarchical import HierarchicalMemory, Kronecker, Synapse
from hopmix.memory.lagrangian import GELU, LayerNorm, Quadratic, ReLU, Tanh
from hopmix.mixers import ParallelMixerBlock

_ACTIVATIONS = {GELU: "gelu", ReLU: "relu", Tanh: "tanh", Quadratic: "identity"}


def to_mixer_block(memory: HierarchicalMemory) -> ParallelMixerBlock:
    """A ``ParallelMixerBlock`` with ``block(x) == memory.step(x)``, sharing the memory's weights.

    Training the block changes the memory and the other way round. (Moving either to another
    dtype or device with ``.to()`` keeps the sharing of parameters, as always in torch.)

    Raises
    ------
    ValueError : the memory is not a Mixer layer; the message gives the reason.
    """
    if not isinstance(memory, HierarchicalMemory):
        raise TypeError(f"memory must be a HierarchicalMemory, got {type(memory).__name__}")
    if len(memory.layers) != 3 or len(memory.dynamic_layers) != 1:
        states = ", ".join(f"{layer.name} (time constant {layer.time_constant:g})" for layer in memory.layers)
        raise _no_mixer(
            "a Mixer block has one visible layer with a state and two adiabatic hidden layers (time constant 0), "
            f"but the layers are {states}"
        )
    (visible,) = memory.dynamic_layers
    norm = visible.lagrangian
    if not isinstance(norm, LayerNorm) or len(visible.shape) != 2:
        raise _no_mixer(f"its visible layer must be (tokens, channels) with a LayerNorm, got {visible}")
    if visible.time_constant != 1:
        raise _no_mixer(f"one step of a block is one time constant, so that must be 1, got {visible.time_constant:g}")
    token, channel = _branches(memory, visible.name)
    kinds = {type(layer.lagrangian) for layer in memory.layers if layer.adiabatic}
    if len(kinds) != 1 or not kinds <= set(_ACTIVATIONS):
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        allowed = ", ".join(kind.__name__ for kind in _ACTIVATIONS)
        raise _no_mixer(f"both hidden layers must have the same elementwise Lagrangian out of {allowed}, got {found}")

    token_in, channel_in = token.operator.token, channel.operator.channel
    block = ParallelMixerBlock(
        *visible.shape,
        token_in.shape[0],
        channel_in.shape[0],
        activation=_ACTIVATIONS[kinds.pop()],
        norm=norm.axes,
        weights="symmetric" if memory.symmetric else "free",
        eps=norm.eps,
        device=token_in.device,
        dtype=token_in.dtype,
    )
    block.token_in, block.channel_in = _shared(token_in), _shared(channel_in)
    if not memory.symmetric:
        # A block has both output weights or none: where one synapse alone is symmetric, its output shares its input's.
        block.token_out = _shared(token.returning.token)
        block.channel_out = _shared(channel.returning.channel)
    block.gain = _shared(norm.gain)
    block.shift = None if norm.shift is None else _shared(norm.shift)
    return block


def _branches(memory: HierarchicalMemory, visible: str) -> tuple[Synapse, Synapse]:
    """The synapses that mix tokens and channels."""
    found: dict[str, Synapse] = {}
    for synapse in memory.synapses:
        name = f"synapse {synapse.source!r} -> {synapse.target!r}"
        if synapse.source != visible:
            raise _no_mixer(f"{name} must start at the visible layer {visible!r}")
        for operator in (synapse.operator, synapse.returning):
            if not isinstance(operator, Kronecker):
                kind = type(operator).__name__
                raise _no_mixer(f"{name} is {kind}, but a Mixer's weights act along one axis: Kronecker")
            if operator.token is not None and operator.channel is not None:
                raise _no_mixer(
                    f"{name} mixes tokens and channels at once, as rank-one synapses do: its hidden units see a sum "
                    "over the other axis, while a Mixer treats each channel (or token) by itself. "
                    "Use synapses='kronecker'"
                )
        axis = "channel" if synapse.operator.token is None else "token"
        if getattr(synapse.returning, axis) is None:
            raise _no_mixer(f"{name} and its feedback mix different axes")
        if axis in found:
            raise _no_mixer(f"two synapses mix along the {axis} axis; a Mixer has one for tokens and one for channels")
        found[axis] = synapse
    if len(found) != 2:
        raise _no_mixer("it needs one synapse that mixes tokens and one that mixes channels")
    return found["token"], found["channel"]


def _shared(weight: Tensor) -> torch.nn.Parameter:
    """The parameter itself; a fixed tensor as a frozen parameter on the same storage."""
    return weight if isinstance(weight, torch.nn.Parameter) else torch.nn.Parameter(weight, requires_grad=False)


def _no_mixer(reason: str) -> ValueError:
    return ValueError(f"this memory is not a Mixer layer: {reason}")
