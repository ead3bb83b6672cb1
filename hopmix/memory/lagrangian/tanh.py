"""The Lagrangian of tanh neurons (page: book/memory/lagrangian.md)."""

import math

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Elementwise, check_state, infinite_where
from hopmix.arguments import number


class Tanh(Elementwise):
    """L(x) = sum log cosh(beta x) / beta, so that g = tanh(beta x). For large beta g is the sign, and L = sum |x|.

    Parameters
    ----------
    inverse_temperature : beta > 0.

    Raises
    ------
    TypeError, ValueError : inverse_temperature is no real number, or not positive and finite.
    """

    convex = True

    def __init__(self, inverse_temperature: float = 1.0):
        super().__init__()
        self.inverse_temperature = number("inverse_temperature", inverse_temperature, "positive")

    def potential(self, x: Tensor) -> Tensor:
        # log cosh x = x - log sigmoid(2x) - log 2 overflows nowhere and is smooth at 0, unlike
        # the form with |x|, whose second derivative autograd gets wrong there.
        scaled = self.inverse_temperature * x
        return (scaled - torch.nn.functional.logsigmoid(2 * scaled) - math.log(2)) / self.inverse_temperature

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return torch.tanh(self.inverse_temperature * x)

    def curvature(self, x: Tensor) -> Tensor:
        return self.inverse_temperature * (1 - torch.tanh(self.inverse_temperature * x).square())

    def potential_conjugate(self, y: Tensor) -> Tensor:
        xlog1py = torch.special.xlog1py
        value = (xlog1py(1 + y, y) + xlog1py(1 - y, -y)) / (2 * self.inverse_temperature)
        return infinite_where(y.abs() > 1, value)

    def extra_repr(self) -> str:
        return f"inverse_temperature={self.inverse_temperature}"
