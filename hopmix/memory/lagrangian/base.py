"""What every Lagrangian offers, and the elementwise ones (page: book/memory/lagrangian.md)."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor


def total(x: Tensor) -> Tensor:
    """The sum over everything but the batch: (batch, *shape) gives (batch,)."""
    if x.dim() < 2:
        raise ValueError(f"x must be (batch, *shape) with an axis beside the batch, got shape {tuple(x.shape)}")
    return x.sum(tuple(range(1, x.dim())))  # without flatten, which copies transposed views


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product over everything but the batch: two (batch, *shape) give (batch,)."""
    return total(a * b)


def check_state(x: Tensor, name: str = "x") -> None:
    """TypeError where x is no floating-point tensor."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = f"dtype {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a floating-point torch.Tensor, got {found}")


def check_direction(x: Tensor, v: Tensor, name: str = "v") -> None:
    """TypeError where x or v is no floating-point tensor, ValueError where v has another shape than x."""
    check_state(x)
    check_state(v, name)
    if v.shape != x.shape:
        raise ValueError(f"{name} must have the shape of x, {tuple(x.shape)}, got {tuple(v.shape)}")


def rounding(y: Tensor) -> float:
    """How far from its domain, relative to its size, an activation may lie: 64 rounding units."""
    return 64 * torch.finfo(y.dtype).eps


def infinite_where(outside: Tensor, value: Tensor) -> Tensor:
    """The value, and infinity where the point lies outside the domain."""
    return torch.where(outside, math.inf, value)


class NoConjugate(ValueError):
    """A Lagrangian that is not convex, or whose convex conjugate has no closed form here."""


class Lagrangian(torch.nn.Module, ABC):
    """A scalar function L(x) of one layer's state.

    Its gradient is the layer's activation g = grad L and its Hessian H carries
    the layer's velocity into the activation's: dg/dt = H dx/dt.
    All states are ``(batch, *shape)`` with at least one axis beside the batch.
    Source: krotov2021hierarchical, krotov2021large.

    ``null_directions`` says in words along which directions the activation does not move, at every
    state; ``null_projection`` gives them as vectors.

    Raises, in every method: TypeError (x or v is no floating-point tensor) and ValueError (v has
    another shape than x).
    """

    null_directions: str = "none"

    @property
    @abstractmethod
    def convex(self) -> bool:
        """Whether H is positive semidefinite at every state."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """L(x): (batch, *shape) gives (batch,)."""

    @abstractmethod
    def activation(self, x: Tensor) -> Tensor:
        """g = grad L(x): the shape of x."""

    @abstractmethod
    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        """H(x) v in closed form: x and v of one shape give that shape."""

    def legendre(self, x: Tensor, activation: Tensor | None = None) -> Tensor:
        """x . g - L(x), the layer's own energy: (batch, *shape) gives (batch,).

        An activation that is already at hand is not computed again.
        """
        g = self.activation(x) if activation is None else activation
        return inner(x, g) - self.value(x)

    def conjugate(self, y: Tensor) -> Tensor:
        """L*(y) = sup over x of x . y - L(x), in closed form: (batch, *shape) gives (batch,).

        Infinite where the supremum is; a domain that rounding could leave is kept up to 64 rounding units.
        For convex L, ``conjugate(activation(x))`` is ``legendre(x)``.
        Raises NoConjugate where no closed form is known, or L is not convex.
        """
        raise NoConjugate(f"{type(self).__name__} has no conjugate in closed form")

    def divergence(self, y: Tensor, x: Tensor) -> Tensor:
        """L(y) - L(x) - g(x) . (y - x): two states (batch, *shape) give (batch,).

        The gap between L and its tangent, also called Bregman divergence, or, as L(y) + L*(g) - y . g, the
        gap in the inequality of Fenchel and Young. Never negative exactly where L is convex.
        """
        check_direction(x, y, name="y")
        return self.value(y) - self.value(x) - inner(self.activation(x), y - x)

    def null_projection(self, x: Tensor, v: Tensor) -> Tensor:
        """The part of v with H(x) v = 0: its orthogonal projection onto the kernel of the Hessian at x."""
        check_direction(x, v)
        return torch.zeros_like(v)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError where a layer of this shape (without batch) has no such Lagrangian."""

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)


class Elementwise(Lagrangian):
    """L(x) = sum of one scalar function over the layer, so H is diagonal."""

    @abstractmethod
    def potential(self, x: Tensor) -> Tensor:
        """The scalar function, entry by entry."""

    @abstractmethod
    def curvature(self, x: Tensor) -> Tensor:
        """Its second derivative, entry by entry: the diagonal of H."""

    def value(self, x: Tensor) -> Tensor:
        check_state(x)
        return total(self.potential(x))

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        return self.curvature(x) * v

    def potential_conjugate(self, y: Tensor) -> Tensor:
        """The conjugate of the scalar function, entry by entry."""
        return super().conjugate(y)

    def conjugate(self, y: Tensor) -> Tensor:
        check_state(y, "y")
        return total(self.potential_conjugate(y))

    def null_projection(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        return torch.where(self.curvature(x) == 0, v, 0)
