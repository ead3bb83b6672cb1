"""What an argument may be: numbers, sizes, seeds, devices, dtypes, tensors.

Each function returns the argument in its plain form, or raises an error that names it.
"""

import math
import operator
from collections.abc import Iterable
from numbers import Real

import numpy as np
import torch
from torch import Tensor


def number(name: str, value: object, least: str = "") -> float:
    """A finite real number, also a tensor or an array with one entry. least: "", "zero", or "positive" for above zero.

    Raises TypeError (text, None, bool, several entries) and ValueError (not finite, too small).
    """
    plain = value
    if type(value) is not float and isinstance(value, Tensor | np.ndarray) and math.prod(value.shape) == 1:
        plain = value.item()
    if type(plain) is not float and (isinstance(plain, bool) or not isinstance(plain, Real)):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    plain = float(plain)
    if not math.isfinite(plain) or (least and plain < 0) or (least == "positive" and plain == 0):
        allowed = {"": "finite", "zero": "finite and not negative", "positive": "positive and finite"}[least]
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return plain


def size(name: str, value: object, least: int = 1) -> int:
    """A whole number, numpy's included, not below ``least``; ValueError for all else, also for bool."""
    try:
        if isinstance(value, bool) or isinstance(value, Tensor) and value.dtype == torch.bool:
            raise TypeError
        plain = operator.index(value)
    except TypeError:
        plain = None
    if plain is None or plain < least:
        allowed = "a positive integer" if least == 1 else f"an integer from {least} on"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return plain


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """One of the allowed words; ValueError lists them."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def generator(seed: object) -> torch.Generator:
    """The stream of random numbers that a seed starts; a generator passes through.

    Raises TypeError (neither an integer nor a generator) and ValueError (no 64 bits hold it, a generator of another device).
    """
    if isinstance(seed, torch.Generator):
        if seed.device.type != "cpu":
            raise ValueError(f"seed must be a torch.Generator on the CPU, where all numbers are drawn, got one on {seed.device}")
        return seed
    try:
        if isinstance(seed, bool):
            raise TypeError
        plain = operator.index(seed)
    except TypeError:
        raise TypeError(f"seed must be an integer or a torch.Generator, got {seed!r}") from None
    if not -(2**63) <= plain < 2**64:
        raise ValueError(f"seed must lie between -2**63 and 2**64 - 1, got {seed!r}")
    return torch.Generator().manual_seed(plain)


def floating_dtype(dtype: object, default: torch.dtype) -> torch.dtype:
    """A floating-point dtype of torch, the default for None; TypeError for all else."""
    if dtype is None:
        return default
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating-point dtype, got {dtype!r}; use for example torch.float64")
    return dtype


def available_device(device: object) -> torch.device | None:
    """A device on which a tensor can be made here and now; None, torch's own choice, passes through.

    Raises TypeError (no device or its name) and ValueError (a name that torch does not know, a device that is not here).
    """
    if device is None:
        return None
    try:
        plain = torch.device(device)
    except TypeError:
        raise TypeError(f"device must be a torch.device or its name, got {device!r}") from None
    except RuntimeError:
        raise ValueError(f"device: {device!r} is not known to torch here; use for example 'cpu' or 'cuda'") from None
    try:
        torch.empty(0, device=plain)
    except (RuntimeError, AssertionError) as error:  # torch's way to say that it was built without
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {str(plain)!r} is not available here; use 'cpu', or a machine that has it ({reason})") from None
    return plain


def check_finite(name: str, x: Tensor) -> None:
    """ValueError where an entry is NaN or infinite. Tensors without data, on the device "meta", pass."""
    if not x.is_meta and not bool(x.detach().isfinite().all()):
        raise ValueError(f"{name} has entries that are not finite")


def check_batch(name: str, x: object, sizes: tuple[int | None, ...], weight: Tensor) -> None:
    """The tensor is (batch, *sizes) with the weight's dtype and device; None is any size.

    Raises TypeError (no tensor, another dtype) and ValueError (another shape or device).
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if x.shape[1:] == sizes and x.dtype == weight.dtype and x.device == weight.device:
        return  # the usual case, on the way of every forward pass
    if x.dim() != len(sizes) + 1 or any(n is not None and n != m for n, m in zip(sizes, x.shape[1:])):
        wanted = ", ".join("any" if n is None else str(n) for n in sizes)
        raise ValueError(f"{name} must have shape (batch, {wanted}), got {tuple(x.shape)}")
    check_like(name, x, weight)


def check_like(name: str, x: Tensor, weight: Tensor) -> None:
    """TypeError where the dtype is not the weight's (autocast, which changes dtypes itself, may), ValueError where the device is not."""
    if x.dtype != weight.dtype and not (x.is_floating_point() and torch.is_autocast_enabled(x.device.type)):
        raise TypeError(f"{name} has dtype {x.dtype}, but the weights {weight.dtype}: use one for both")
    if x.device != weight.device:
        raise ValueError(f"{name} is on {x.device}, but the weights on {weight.device}: use one device")
