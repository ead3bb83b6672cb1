"""States of a memory: their structure, and what is refused (page: book/memory/hierarchical.md)."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hopmix.memory.hierarchical.layer import Layer

State = Tensor | dict[str, Tensor]
"""One tensor (batch, *shape) for a memory with one dynamic layer, else a dict from layer name to such tensors."""


def unpack(state: State, layers: Sequence[Layer], like: Tensor | None) -> dict[str, Tensor]:
    """The state of the dynamic ``layers`` by name, checked.

    Parameters
    ----------
    state : a dict with exactly these layers, or the bare tensor where there is only one.
    like : a weight whose dtype and device the state must have; None leaves the choice free.

    Raises
    ------
    TypeError : not a tensor or dict, not floating point, dtypes that differ.
    ValueError : missing or unknown layers, wrong shapes, different batches or devices, entries not finite.
    """
    names = [layer.name for layer in layers]
    if isinstance(state, Tensor):
        if len(layers) != 1:
            raise TypeError(
                f"state must be a dict with the layers {', '.join(names)}, got a bare tensor: "
                f"{len(layers)} layers are dynamic"
            )
        state = {names[0]: state}
    elif not isinstance(state, Mapping):
        raise TypeError(f"state must be a torch.Tensor or a dict of them, got {type(state).__name__}")
    if missing := [name for name in names if name not in state]:
        raise ValueError(f"state lacks the layers {', '.join(missing)}; it must hold {', '.join(names)}")
    if unknown := [str(name) for name in state if name not in names]:
        raise ValueError(
            f"state has the layers {', '.join(unknown)}, which are not dynamic layers of this memory; "
            f"those are {', '.join(names)}"
        )
    reference = like
    for layer in layers:
        x = state[layer.name]
        if not isinstance(x, Tensor) or not x.is_floating_point():
            found = f"dtype {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"state of layer {layer.name!r} must be a floating-point torch.Tensor, got {found}")
        if tuple(x.shape[1:]) != layer.shape or x.dim() == 0:
            wanted = ", ".join(map(str, layer.shape))
            raise ValueError(f"state of layer {layer.name!r} must have shape (batch, {wanted}), got {tuple(x.shape)}")
        reference = x if reference is None else reference
        owner = "the weights" if like is not None else f"layer {names[0]!r}"
        if x.dtype != reference.dtype:
            raise TypeError(
                f"state of layer {layer.name!r} has dtype {x.dtype}, but {owner} {reference.dtype}: "
                "use one for all, for example memory.to(dtype)"
            )
        if x.device != reference.device:
            raise ValueError(
                f"state of layer {layer.name!r} is on {x.device}, but {owner} on {reference.device}: use one device"
            )
        if len(x) != (batch := len(state[names[0]])):
            raise ValueError(f"state of layer {layer.name!r} has batch {len(x)}, but layer {names[0]!r} has {batch}")
        if not _finite(x):
            raise ValueError(f"state of layer {layer.name!r} has entries that are not finite")
    return {name: state[name] for name in names}


def pack(values: dict[str, Tensor], like: State) -> State:
    """The values in the structure of ``like``: bare where that is bare."""
    if isinstance(like, Tensor):
        (value,) = values.values()
        return value
    return values


def combine(function: Callable[..., Tensor], *states: dict[str, Tensor]) -> dict[str, Tensor]:
    """The function applied layer by layer."""
    return {name: function(*(state[name] for state in states)) for name in states[0]}


def all_finite(states: dict[str, Tensor]) -> bool:
    """Whether every entry of every layer is finite."""
    return all(_finite(x) for x in states.values())


def first_not_finite(states: dict[str, Tensor]) -> int | None:
    """The first index along the leading axis at which some layer is not finite."""
    if all_finite(states):
        return None
    bad = torch.stack([~x.isfinite().flatten(1).all(1) for x in states.values()]).any(0)
    return int(bad.nonzero()[0])


def _finite(x: Tensor) -> bool:
    # One pass without a mask; a sum that overflows though all entries are finite is looked at again.
    return math.isfinite(float(x.detach().sum())) or bool(x.isfinite().all())
