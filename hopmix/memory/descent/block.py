"""From a tied Mixer block back to the memory whose step it is (page: book/memory/descent.md)."""

from hopmix.memory.descent.bound import NoDescentGuarantee
from hopmix.memory.hierarchical import HierarchicalMemory, Kronecker, Layer, Synapse
from hopmix.memory.lagrangian import LayerNorm, lagrangian
from hopmix.mixers import ParallelMixerBlock

_LAGRANGIANS = {"gelu": "gelu", "relu": "relu", "tanh": "tanh", "identity": "quadratic"}


def block_memory(block: ParallelMixerBlock) -> HierarchicalMemory:
    """The memory with ``memory.step(x) == block(x)``, sharing the block's weights: the inverse of ``to_mixer_block``.

    Raises
    ------
    NoDescentGuarantee : the block's weights are free: it is a step of an asymmetric memory, without this energy.
    TypeError : no ParallelMixerBlock. Serial blocks are steps of no memory.
    """
    if not isinstance(block, ParallelMixerBlock):
        raise TypeError(f"block must be a ParallelMixerBlock, got {type(block).__name__}")
    if not block.symmetric:
        raise NoDescentGuarantee("block must have symmetric weights, one matrix both ways in each branch; its weights are free")
    kind, tokens, channels = _LAGRANGIANS[block.activation], block.tokens, block.channels
    return HierarchicalMemory(
        [
            Layer("visible", (tokens, channels), LayerNorm(block.norm, gain=block.gain, shift=block.shift, eps=block.eps)),
            Layer("token_hidden", (len(block.token_in), channels), lagrangian(kind), 0.0),
            Layer("channel_hidden", (tokens, len(block.channel_in)), lagrangian(kind), 0.0),
        ],
        [
            Synapse("visible", "token_hidden", Kronecker(token=block.token_in)),
            Synapse("visible", "channel_hidden", Kronecker(channel=block.channel_in)),
        ],
    )
