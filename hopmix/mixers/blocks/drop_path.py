"""Dropping whole branches in training, from a stream of one's own (page: book/mixers/blocks.md)."""

import torch
from torch import Tensor


def draw_paths(shape: tuple[int, ...], rate: float, stream: torch.Generator, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Independent factors for branches: 0 with probability ``rate``, else 1 / (1 - rate), so that the mean is 1.

    Drawn on the CPU, where ``stream`` is, and so the same for every device.
    """
    kept = torch.rand(shape, generator=stream, dtype=torch.float64) >= rate
    return (kept.double() / (1 - rate)).to(device, dtype)
