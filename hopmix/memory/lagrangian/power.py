"""The power Lagrangians of dense memories (page: book/memory/lagrangian.md)."""

import torch
from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.lagrangian.base import Elementwise, check_state, infinite_where


class Power(Elementwise):
    """L(x) = sum |x|^n / n, so that g = sign(x) |x|^(n-1); rectified, with max(x, 0) in place of |x|.

    Rectified, n = 2 is ReLU. Below n = 2 the curvature at x = 0 is infinite, and ``hessian_product`` refuses
    such states. The conjugate is the power n / (n - 1).

    Parameters
    ----------
    exponent : n > 1.
    rectified : whether negative entries count as 0.

    Raises
    ------
    TypeError : exponent is no real number, rectified no bool.
    ValueError : exponent is not above 1 and finite.

    Source: krotov2016dense.
    """

    convex = True

    def __init__(self, exponent: float = 3.0, rectified: bool = False):
        super().__init__()
        self.exponent = number("exponent", exponent)
        if self.exponent <= 1:
            raise ValueError(f"exponent must be above 1, got {exponent!r}: at 1 the activation jumps, below it L is not convex")
        if not isinstance(rectified, bool):
            raise TypeError(f"rectified must be True or False, got {rectified!r}")
        self.rectified = rectified

    @property
    def null_directions(self) -> str:
        if self.rectified:
            return "units that are off"
        return "units at zero" if self.exponent > 2 else "none"

    def potential(self, x: Tensor) -> Tensor:
        return self._power(x, self.exponent) / self.exponent

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        if self.exponent == 2:
            return torch.relu(x) if self.rectified else x.clone()
        power = self._power(x, self.exponent - 1)
        return power if self.rectified else x.sign() * power

    def curvature(self, x: Tensor) -> Tensor:
        if self.exponent == 2:
            return (x > 0).to(x.dtype) if self.rectified else torch.ones_like(x)
        if self.exponent < 2 and bool((x == 0).any()):
            raise ValueError(f"x has entries at 0, where the power {self.exponent:g} has no second derivative; allowed: powers from 2 on")
        return (self.exponent - 1) * self._power(x, self.exponent - 2)

    def potential_conjugate(self, y: Tensor) -> Tensor:
        dual = self.exponent / (self.exponent - 1)
        value = y.abs().pow(dual) / dual
        return infinite_where(y < 0, value) if self.rectified else value

    def _power(self, x: Tensor, exponent: float) -> Tensor:
        """|x| to a power, 0 where the unit is off; without the infinite slopes at 0 that autograd would multiply by 0."""
        if exponent == 2:
            return (torch.relu(x) if self.rectified else x).square()
        on = x > 0 if self.rectified else x != 0
        return torch.where(on, torch.where(on, x.abs(), 1).pow(exponent), 0)

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}, rectified={self.rectified}"
