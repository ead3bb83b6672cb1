"""Models by name (page: book/mixers/blocks.md)."""

from hopmix.arguments import choice
from hopmix.mixers.blocks.model import Mixer

_KINDS = {
    "vanilla": {"order": "serial", "weights": "free"},
    "paramixer": {"order": "parallel", "weights": "free"},
    "symmixer": {"order": "parallel", "weights": "symmetric"},
    "asymmixer": {"order": "parallel", "weights": "asymmetric"},
    "signedmixer": {"order": "parallel", "weights": "signed"},
}
_SIZES = {"s": {"depth": 8, "dim": 512}, "b": {"depth": 12, "dim": 768}, "l": {"depth": 24, "dim": 1024}}

#: Constructor arguments by name: a kind ("vanilla", "paramixer", "symmixer", "asymmixer", "signedmixer"), a size
#: ("s", "b", "l" of tolstikhin2021mlp) and the side of a patch (16 or 32), such as "symmixer_b16".
PRESETS: dict[str, dict] = {
    f"{kind}_{letter}{patch}": {"image_size": 224, "patch_size": patch, "in_channels": 3, "num_classes": 1000} | sizes | options
    for kind, options in _KINDS.items()
    for letter, sizes in _SIZES.items()
    for patch in (16, 32)
}


def preset(name: str, **changes: object) -> Mixer:
    """The model of ``PRESETS`` with that name, with some constructor arguments changed or added.

    >>> sum(parameter.numel() for parameter in preset("paramixer_s16", num_classes=10, device="meta").parameters())
    19585546

    Raises
    ------
    ValueError, TypeError : an unknown name, or what ``Mixer`` refuses.
    """
    return Mixer(**(PRESETS[choice("name", name, PRESETS)] | changes))
