"""A memory for which the condition of the theorem is exact (page: book/memory/descent.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.hierarchical import HierarchicalMemory, Kronecker, Layer, Synapse
from hopmix.memory.lagrangian import GELU, LayerNorm


def sharp_memory(balance: float = 0.01) -> tuple[HierarchicalMemory, Tensor]:
    """Three tokens, one channel and two hidden GELU units: (memory, state) in which a step raises the energy where the theorem stops.

    One unit sits at u = -sqrt 2, where GELU is most concave, and looks along a direction in which the activations can move. The other has weights as small
    as ``balance``, a large drive from the shift of the LayerNorm, and so a force without curvature; it cancels the force of the first but for
    a part of order ``balance``. The activations then move so little that only the curvature at the start counts.

    Raises TypeError, ValueError : balance is no number from 1e-3, below which rounding decides, to below 1.
    """
    balance = number("balance", balance, "positive")
    if not 1e-3 <= balance < 1:
        raise ValueError(f"balance must be from 1e-3 to below 1, got {balance:g}")
    one = torch.ones(3, dtype=torch.float64)
    z = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64) / math.sqrt(2)  # mean 0, mean square 1
    q = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / math.sqrt(2)  # a unit vector orthogonal to z and to constants
    place = -math.sqrt(2)
    force = -float(torch.nn.functional.gelu(torch.tensor(place, dtype=torch.float64)))
    # The second unit's drive: its force on q is balance times u, to be the first unit's, up to the small part that moves the state.
    drive = force * (1 + balance) / balance
    shift = place * q + (drive - balance * place) / (3 * balance) * one
    weight = torch.stack([q, balance * (q + one)])
    memory = HierarchicalMemory(
        [
            Layer("visible", (3, 1), LayerNorm("joint", shift=shift[:, None], eps=0.0)),
            Layer("token_hidden", (2, 1), GELU(), 0.0),
            Layer("channel_hidden", (3, 1), GELU(), 0.0),
        ],
        [
            Synapse("visible", "token_hidden", Kronecker(token=weight)),
            Synapse("visible", "channel_hidden", Kronecker(channel=torch.zeros(1, 1, dtype=torch.float64))),
        ],
    )
    return memory, z[None, :, None]
