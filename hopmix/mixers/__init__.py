"""Mixer networks: blocks, models, and state dicts of other libraries (page: book/mixers/blocks.md).

>>> import torch, hopmix
>>> model = hopmix.mixers.preset("symmixer_s16", image_size=32, num_classes=10, depth=2)
>>> images = torch.zeros(5, 3, 32, 32)                # (batch, in_channels, height, width)
>>> model.embed(images).shape, model(images).shape    # (batch, tokens, dim), (batch, num_classes)
(torch.Size([5, 4, 512]), torch.Size([5, 10]))
"""

from importlib import import_module

_HOME = {
    "Mixer": "hopmix.mixers.blocks",
    "MixerBlock": "hopmix.mixers.blocks",
    "Mixing": "hopmix.mixers.blocks",
    "ParallelMixerBlock": "hopmix.mixers.blocks",
    "PRESETS": "hopmix.mixers.blocks",
    "preset": "hopmix.mixers.blocks",
    "from_state_dict": "hopmix.mixers.blocks",
    "to_state_dict": "hopmix.mixers.blocks",
    "KroneckerMLP": "hopmix.mixers.wide_sparse",
    "SparseMLP": "hopmix.mixers.wide_sparse",
    "to_wide": "hopmix.mixers.wide_sparse",
}
_SUBPACKAGES = ("blocks", "kronecker", "wide_sparse")

__all__ = [*_HOME, *_SUBPACKAGES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
