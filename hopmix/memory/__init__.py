"""Associative memories: layers with Lagrangians, joined by synapses (page: book/memory/hopfield_mixer.md).

>>> import torch, hopmix
>>> memory = hopmix.memory.three_layer_memory(tokens=4, channels=6, token_hidden=8, channel_hidden=12)
>>> state = memory.random_state(batch=3)              # (batch, tokens, channels)
>>> memory.energy(state).shape, memory.velocity(state).shape
(torch.Size([3]), torch.Size([3, 4, 6]))
>>> block = hopmix.memory.to_mixer_block(memory)
>>> bool(torch.allclose(block(state), memory.step(state), rtol=1e-14, atol=1e-14))
True
"""

from importlib import import_module

_HOME = {
    "Lagrangian": "hopmix.memory.lagrangian",
    "Layer": "hopmix.memory.hierarchical",
    "Synapse": "hopmix.memory.hierarchical",
    "Operator": "hopmix.memory.hierarchical",
    "Dense": "hopmix.memory.hierarchical",
    "Kronecker": "hopmix.memory.hierarchical",
    "HierarchicalMemory": "hopmix.memory.hierarchical",
    "three_layer_memory": "hopmix.memory.hopfield_mixer",
    "to_mixer_block": "hopmix.memory.hopfield_mixer",
    "skip_to_leaky": "hopmix.memory.hopfield_mixer",
}
_SUBPACKAGES = ("lagrangian", "hierarchical", "hopfield_mixer")

__all__ = [*_HOME, *_SUBPACKAGES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
