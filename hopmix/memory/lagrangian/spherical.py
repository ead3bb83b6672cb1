"""The Lagrangian whose activation has length one (page: book/memory/lagrangian.md)."""

import math

import torch
from torch import Tensor

from hopmix.arguments import choice, number
from hopmix.memory.lagrangian.base import Lagrangian, check_direction, check_state, infinite_where, rounding, total


class Spherical(Lagrangian):
    """L(x) = gain sqrt(|x|^2 + eps), so that g = gain x / sqrt(|x|^2 + eps).

    With axes "token" the length is that of each token, and L is summed over the tokens. RMSNorm of N entries
    with its own eps' is gain = sqrt(N), eps = N eps'.

    Parameters
    ----------
    axes : "joint" takes the length over all axes of the layer at once, "token" over the last axis alone.
    gain : positive.
    eps : non-negative. With eps = 0 a state of length zero has no activation.

    Raises
    ------
    TypeError : gain or eps is no real number.
    ValueError : unknown axes, a gain that is not positive and finite, a negative eps.

    Source: krotov2021large.
    """

    convex = True

    def __init__(self, axes: str = "joint", gain: float = 1.0, eps: float = 1e-6):
        super().__init__()
        self.axes = choice("axes", axes, ("joint", "token"))
        self.gain = number("gain", gain, "positive")
        self.eps = number("eps", eps, "zero")

    @property
    def null_directions(self) -> str:
        if self.eps > 0:
            return "none"
        return "the state" if self.axes == "joint" else "the state, token by token"

    def value(self, x: Tensor) -> Tensor:
        return self.gain * total(self._radius(x))

    def activation(self, x: Tensor) -> Tensor:
        radius = self._radius(x)
        return self.gain * x / radius

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        radius = self._radius(x)
        direction = x / radius
        return self.gain / radius * (v - direction * (direction * v).sum(self._dims(x), keepdim=True))

    def legendre(self, x: Tensor, activation: Tensor | None = None) -> Tensor:
        """-gain eps / sqrt(|x|^2 + eps): for eps = 0 the layer's own energy vanishes.

        In closed form, because x . g - L cancels almost completely.
        """
        return -self.gain * self.eps * total(self._radius(x).reciprocal())

    def conjugate(self, y: Tensor) -> Tensor:
        """-sqrt(eps) sqrt(gain^2 - |y|^2) where the length of y is at most gain, else infinite."""
        check_state(y, "y")
        square, room = y.square().sum(self._dims(y), keepdim=True), self.gain**2
        outside = square > room * (1 + rounding(y))
        if self.eps == 0:
            return total(infinite_where(outside, 0 * square))
        return total(infinite_where(outside, -math.sqrt(self.eps) * (room - square).clamp(min=0).sqrt()))

    def null_projection(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        if self.eps > 0:
            return torch.zeros_like(v)
        direction = x / self._radius(x)
        return direction * (direction * v).sum(self._dims(x), keepdim=True)

    def _dims(self, x: Tensor) -> tuple[int, ...]:
        return tuple(range(1, x.dim())) if self.axes == "joint" else (-1,)

    def _radius(self, x: Tensor) -> Tensor:
        """sqrt(|x|^2 + eps), its axes kept."""
        check_state(x)
        square = x.square().sum(self._dims(x), keepdim=True)
        if self.eps == 0 and bool((square == 0).any()):
            raise ValueError("x has length zero: with eps=0 Spherical is undefined there")
        return (square + self.eps).sqrt()

    def extra_repr(self) -> str:
        return f"axes={self.axes!r}, gain={self.gain}, eps={self.eps}"
