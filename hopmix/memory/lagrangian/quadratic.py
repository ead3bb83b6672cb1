"""The quadratic Lagrangian of linear neurons (page: book/memory/lagrangian.md)."""

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Elementwise, check_direction, check_state


class Quadratic(Elementwise):
    """L(x) = sum x^2 / 2: the activation is the state itself."""

    convex = True

    def potential(self, x: Tensor) -> Tensor:
        return x.square() / 2

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return x

    def curvature(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)

    def potential_conjugate(self, y: Tensor) -> Tensor:
        return y.square() / 2

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        return v
