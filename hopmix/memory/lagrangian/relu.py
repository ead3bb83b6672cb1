"""ReLU's Lagrangian (page: book/memory/lagrangian.md)."""

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Elementwise, check_state, infinite_where


class ReLU(Elementwise):
    """L(x) = sum max(x, 0)^2 / 2; at the kink the curvature is taken as 0."""

    convex = True
    null_directions = "units that are off"

    def potential(self, x: Tensor) -> Tensor:
        return torch.relu(x).square() / 2

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return torch.relu(x)

    def curvature(self, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)

    def potential_conjugate(self, y: Tensor) -> Tensor:
        return infinite_where(y < 0, y.square() / 2)
