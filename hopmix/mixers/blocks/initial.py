"""Initial weights, drawn on the CPU from a stream of their own (page: book/mixers/blocks.md)."""

import math

import torch
from torch import Tensor


def xavier_uniform(
    hidden: int, seen: int, stream: torch.Generator, device: torch.device | None, dtype: torch.dtype
) -> torch.nn.Parameter:
    """(hidden, seen), uniform with variance 2 / (hidden + seen). On the device "meta" nothing is drawn."""
    if _is_meta(device):
        return _parameter(torch.empty(hidden, seen), device, dtype)
    bound = math.sqrt(6 / (hidden + seen))
    drawn = torch.rand(hidden, seen, generator=stream, dtype=torch.float64) * (2 * bound) - bound
    return _parameter(drawn, device, dtype)


def lecun_normal(
    *shape: int, stream: torch.Generator, device: torch.device | None, dtype: torch.dtype
) -> torch.nn.Parameter:
    """Normal, cut at two standard deviations, with variance one over the number of inputs, which is the product of
    all sizes but the first. On the device "meta" nothing is drawn."""
    if _is_meta(device):
        return _parameter(torch.empty(shape), device, dtype)
    tail = math.erfc(math.sqrt(2)) / 2  # the probability beyond two standard deviations on one side
    uniform = tail + (1 - 2 * tail) * torch.rand(shape, generator=stream, dtype=torch.float64)
    # The cut normal has this variance: 1 - 4 phi(2) / (1 - 2 tail).
    variance = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / (1 - 2 * tail)
    normal = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
    return _parameter(normal / math.sqrt(variance * math.prod(shape[1:])), device, dtype)


def constant(value: float, *shape: int, device: torch.device | None, dtype: torch.dtype) -> torch.nn.Parameter:
    """A parameter with equal entries."""
    return torch.nn.Parameter(torch.full(shape, value, device=device, dtype=dtype))


def _parameter(drawn: Tensor, device: torch.device | None, dtype: torch.dtype) -> torch.nn.Parameter:
    return torch.nn.Parameter(drawn.to(device, dtype))


def _is_meta(device: torch.device | None) -> bool:
    return device is not None and device.type == "meta"
