"""The exponential Lagrangian of dense memories with exponential capacity (page: book/memory/lagrangian.md)."""

import math

import torch
from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.lagrangian.base import Elementwise, check_state, infinite_where


class Exponential(Elementwise):
    """L(x) = sum exp(beta x) / beta, so that g = exp(beta x).

    Parameters
    ----------
    inverse_temperature : beta > 0.

    Raises
    ------
    TypeError, ValueError : inverse_temperature is no real number, or not positive and finite.
    ValueError : in its methods, where beta x is so large that the exponential overflows the dtype.

    Source: demircigil2017model.
    """

    convex = True

    def __init__(self, inverse_temperature: float = 1.0):
        super().__init__()
        self.inverse_temperature = number("inverse_temperature", inverse_temperature, "positive")

    def potential(self, x: Tensor) -> Tensor:
        return self._exponential(x) / self.inverse_temperature

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return self._exponential(x)

    def curvature(self, x: Tensor) -> Tensor:
        return self.inverse_temperature * self._exponential(x)

    def potential_conjugate(self, y: Tensor) -> Tensor:
        return infinite_where(y < 0, (torch.xlogy(y, y) - y) / self.inverse_temperature)

    def _exponential(self, x: Tensor) -> Tensor:
        scaled = self.inverse_temperature * x
        most = math.log(torch.finfo(x.dtype).max)
        if bool((scaled > most).any()):
            raise ValueError(
                f"x has entries up to {float(x.max()):g}, where exp({self.inverse_temperature:g} x) overflows {x.dtype}; "
                f"allowed: x up to {most / self.inverse_temperature:.4g}"
            )
        return scaled.exp()

    def extra_repr(self) -> str:
        return f"inverse_temperature={self.inverse_temperature}"
