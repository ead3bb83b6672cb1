"""The linear maps that synapses apply: dense and Kronecker (page: book/memory/hierarchical.md)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from hopmix.memory.hierarchical.products import times, times_transposed
from hopmix.arguments import check_batch, check_finite, check_like


class Operator(torch.nn.Module, ABC):
    """A linear map from activations of a source layer to inputs of a target layer, and its adjoint.

    A weight given as ``torch.nn.Parameter`` stays that parameter, shared and trained; any other
    tensor is kept as a fixed buffer. Both follow ``.to()``.

    Raises TypeError (no tensor, or a dtype that is not floating point or not the weights') and
    ValueError (a weight that is not finite, an activation of another shape or device).
    """

    @abstractmethod
    def forward(self, g: Tensor) -> Tensor:
        """(batch, *source shape) to the target's input."""

    @abstractmethod
    def adjoint(self, g: Tensor) -> Tensor:
        """(batch, *target shape) to the source's input: the transposed map."""

    @abstractmethod
    def check_shapes(self, source: tuple[int, ...], target: tuple[int, ...]) -> None:
        """Raise ValueError where the operator does not map the one layer shape to the other."""

    def apply(self, g: Tensor | Callable):
        """The map applied to a tensor. Given a function, this is ``torch.nn.Module.apply``."""
        return self(g) if isinstance(g, Tensor) else super().apply(g)

    def _hold(self, name: str, weight: Tensor | None) -> None:
        if weight is not None:
            if not isinstance(weight, Tensor) or not weight.is_floating_point():
                raise TypeError(f"{name} must be a floating-point torch.Tensor, got {_describe(weight)}")
            if weight.dim() != 2 or weight.numel() == 0:
                raise ValueError(f"{name} must be a non-empty matrix, got shape {tuple(weight.shape)}")
            check_finite(name, weight)
        if isinstance(weight, torch.nn.Parameter):
            self.register_parameter(name, weight)
        else:
            self.register_buffer(name, weight)


class Dense(Operator):
    """Any matrix between the flattened layers: ``weight`` is (n_target, n_source)."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self._hold("weight", weight)

    def forward(self, g: Tensor) -> Tensor:
        """(batch, *source shape) to (batch, n_target)."""
        weight = self.weight
        return times_transposed(_flat(g, weight, 1), weight)

    def adjoint(self, g: Tensor) -> Tensor:
        """(batch, *target shape) to (batch, n_source)."""
        weight = self.weight
        return times(_flat(g, weight, 0), weight)

    def check_shapes(self, source: tuple[int, ...], target: tuple[int, ...]) -> None:
        needed = (math.prod(target), math.prod(source))
        if tuple(self.weight.shape) != needed:
            raise ValueError(
                f"weight of Dense must be (n_target, n_source) = {needed} for layers of shape {target} and {source}, "
                f"got {tuple(self.weight.shape)}"
            )

    def extra_repr(self) -> str:
        return f"weight={tuple(self.weight.shape)}"


class Kronecker(Operator):
    """token (x) channel: one matrix mixes the first axis, another the second, None is the identity.

    From a source (S, C) to a target (h, k), with token (h, S) and channel (k, C):
    ``target[a, b] = sum_iI token[a, i] source[i, I] channel[b, I]``. The dense matrix of the same
    map is ``kron(token, channel)``; it is never formed, and the two products are taken in the
    cheaper order.
    """

    def __init__(self, token: Tensor | None = None, channel: Tensor | None = None):
        super().__init__()
        if token is None and channel is None:
            raise ValueError("token and channel must not both be None: that synapse would have no weights")
        self._hold("token", token)
        self._hold("channel", channel)

    def forward(self, g: Tensor) -> Tensor:
        """(batch, S, C) to (batch, h, k)."""
        token, channel = self.token, self.channel
        _check_two_sided(g, token, channel, 1)
        return _two_sided(times_transposed, g, token, channel)

    def adjoint(self, g: Tensor) -> Tensor:
        """(batch, h, k) to (batch, S, C)."""
        token, channel = self.token, self.channel
        _check_two_sided(g, token, channel, 0)
        return _two_sided(times, g, token, channel)

    def check_shapes(self, source: tuple[int, ...], target: tuple[int, ...]) -> None:
        if len(source) != 2 or len(target) != 2:
            raise ValueError(f"Kronecker joins layers with two axes, got shapes {source} and {target}")
        for axis, (name, weight) in enumerate((("token", self.token), ("channel", self.channel))):
            found = None if weight is None else tuple(weight.shape)
            if (target[axis], source[axis]) != (found or (source[axis], source[axis])):
                raise ValueError(
                    f"{name} of Kronecker must be {(target[axis], source[axis])} for layers of shape "
                    f"{target} and {source}, got {found or 'None (the identity)'}"
                )

    def extra_repr(self) -> str:
        weights = {"token": self.token, "channel": self.channel}
        return ", ".join(f"{name}={None if w is None else tuple(w.shape)}" for name, w in weights.items())


def _flat(g: Tensor, weight: Tensor, axis: int) -> Tensor:
    """g (batch, *shape) as (batch, entries), with as many entries as the weight's axis."""
    if not isinstance(g, Tensor) or g.dim() < 2 or g.numel() != len(g) * weight.shape[axis]:
        found = tuple(g.shape) if isinstance(g, Tensor) else type(g).__name__
        error = ValueError if isinstance(g, Tensor) else TypeError
        raise error(f"g must be a torch.Tensor (batch, *shape) with {weight.shape[axis]} entries for each sample, got {found}")
    check_like("g", g, weight)
    return g.flatten(1)


def _check_two_sided(g: Tensor, token: Tensor | None, channel: Tensor | None, axis: int) -> None:
    first = channel if token is None else token
    if (
        isinstance(g, Tensor)
        and g.dim() == 3
        and (token is None or g.shape[1] == token.shape[axis])
        and (channel is None or g.shape[2] == channel.shape[axis])
        and g.dtype == first.dtype
        and g.device == first.device
    ):
        return  # the usual case, on the way of every velocity
    sizes = (None if token is None else token.shape[axis], None if channel is None else channel.shape[axis])
    check_batch("g", g, sizes, first)


def _two_sided(product: Callable[[Tensor, Tensor], Tensor], g: Tensor, token: Tensor | None, channel: Tensor | None) -> Tensor:
    """The product of each axis of g (batch, n, m) with its weight, in the order with fewer multiplications."""
    if token is None:
        return product(g, channel)
    if channel is None:
        return _along_tokens(product, g, token)
    n, m = g.shape[1:]
    p, q = token.numel() // n, channel.numel() // m
    if p * n * m + p * m * q <= n * m * q + p * n * q:
        return product(_along_tokens(product, g, token), channel)
    return _along_tokens(product, product(g, channel), token)


def _along_tokens(product: Callable[[Tensor, Tensor], Tensor], g: Tensor, token: Tensor) -> Tensor:
    """One large product on the transposed view; broadcasting ``@`` would copy g and the result."""
    return product(g.mT, token).mT


def _describe(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
