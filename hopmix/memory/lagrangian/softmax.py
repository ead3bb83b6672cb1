"""The log-sum-exp Lagrangian of softmax neurons (page: book/memory/lagrangian.md)."""

import operator

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Lagrangian, check_direction, check_state, infinite_where, rounding, total
from hopmix.arguments import number


class Softmax(Lagrangian):
    """L(x) = sum of logsumexp(beta x, axis) / beta over the layer's other axes; g = softmax(beta x, axis).

    Parameters
    ----------
    inverse_temperature : beta > 0.
    axis : the axis over which units compete, counted from the last: -1 is the last.

    Raises
    ------
    TypeError : inverse_temperature is no real number.
    ValueError : inverse_temperature is not positive and finite, or axis is not a negative integer.
    """

    convex = True
    null_directions = "constants along the axis"

    def __init__(self, inverse_temperature: float = 1.0, axis: int = -1):
        super().__init__()
        self.inverse_temperature = number("inverse_temperature", inverse_temperature, "positive")
        try:
            self.axis = operator.index(axis)
        except TypeError:
            self.axis = 0
        if self.axis >= 0:
            raise ValueError(f"axis must be a negative integer, counted from the last axis, got {axis!r}")

    def value(self, x: Tensor) -> Tensor:
        check_state(x)
        beta = self.inverse_temperature
        return total(torch.logsumexp(beta * x, self.axis, keepdim=True)) / beta

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return torch.softmax(self.inverse_temperature * x, self.axis)

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        g = self.activation(x)
        return self.inverse_temperature * g * (v - (g * v).sum(self.axis, keepdim=True))

    def conjugate(self, y: Tensor) -> Tensor:
        """The negative entropy sum y log y / beta on the simplex, infinite elsewhere."""
        check_state(y, "y")
        outside = (y < 0).any(self.axis, keepdim=True) | ((y.sum(self.axis, keepdim=True) - 1).abs() > rounding(y))
        entropy = torch.xlogy(y, y).sum(self.axis, keepdim=True)
        return total(infinite_where(outside, entropy)) / self.inverse_temperature

    def null_projection(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        return v.mean(self.axis, keepdim=True).expand_as(v)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if -self.axis > len(shape):
            raise ValueError(f"axis {self.axis} of Softmax is outside a layer of shape {shape}")

    def extra_repr(self) -> str:
        return f"inverse_temperature={self.inverse_temperature}, axis={self.axis}"
