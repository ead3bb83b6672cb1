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

_NAMES = {
    "lagrangian": ("Lagrangian",),
    "hierarchical": ("Layer", "Synapse", "Operator", "Dense", "Kronecker", "HierarchicalMemory", "NotConverged", "solve", "fixed_point", "Retrieval"),
    "hopfield_mixer": ("three_layer_memory", "to_mixer_block", "skip_to_leaky"),
    "descent": ("descent_bound", "largest_safe_step", "block_memory"),
    "asymmetry": ("mixer_ensemble", "predict", "classify"),
    "attention": ("modern_hopfield", "dense_memory", "retrieval_bound"),
    "examples": ("example_memory", "one_step_overlap"),
    "denoiser": ("denoiser_memory", "Denoiser"),
    "boltzmann": ("AttentionalBoltzmannMachine", "GaussianBernoulliRBM", "DenseBoltzmannMachine"),
}
_HOME = {name: f"hopmix.memory.{package}" for package, names in _NAMES.items() for name in names}
_SUBPACKAGES = ("lagrangian", "hierarchical", "hopfield_mixer", "descent", "asymmetry", "attention", "examples", "denoiser", "boltzmann", "plots")

__all__ = [*_HOME, *_SUBPACKAGES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
