"""What every Lagrangian offers, and the elementwise ones (page: book/memory/hopfield_mixer.md)."""

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


def check_state(x: Tensor) -> None:
    """TypeError where x is no floating-point tensor."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise _no_state("x", x)


def check_direction(x: Tensor, v: Tensor) -> None:
    """TypeError where x or v is no floating-point tensor, ValueError where v has another shape than x."""
    check_state(x)
    if not isinstance(v, Tensor) or not v.is_floating_point():
        raise _no_state("v", v)
    if v.shape != x.shape:
        raise ValueError(f"v must have the shape of x, {tuple(x.shape)}, got {tuple(v.shape)}")


def _no_state(name: str, value: object) -> TypeError:
    found = f"dtype {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
    return TypeError(f"{name} must be a floating-point torch.Tensor, got {found}")


class Lagrangian(torch.nn.Module, ABC):
    """A scalar function L(x) of one layer's state.

    Its gradient is the layer's activation g = grad L and its Hessian H carries
    the layer's velocity into the activation's: dg/dt = H dx/dt.
    All states are ``(batch, *shape)`` with at least one axis beside the batch.
    Source: krotov2021hierarchical, krotov2021large.

    Raises, in every method: TypeError (x or v is no floating-point tensor) and ValueError (v has
    another shape than x).
    """

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
