"""A layer of neurons: a shape, a Lagrangian and a time constant (page: book/memory/hierarchical.md)."""

import math
from collections.abc import Iterable, Sequence

import torch

from hopmix.memory.lagrangian import Lagrangian
from hopmix.arguments import number, size


class Layer(torch.nn.Module):
    """One layer of a hierarchical memory.

    Parameters
    ----------
    name : how states, synapses and errors refer to the layer.
    shape : the layer's axes without the batch, for example (tokens, channels).
    lagrangian : its ``Lagrangian``, whose gradient is the activation.
    time_constant : tau in tau dx/dt = input - x. At 0 the layer is adiabatic: it holds no state
        of its own, x is its input at every moment.

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """

    def __init__(self, name: str, shape: Sequence[int], lagrangian: Lagrangian, time_constant: float = 1.0):
        super().__init__()
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be a non-empty string, got {name!r}")
        if not isinstance(lagrangian, Lagrangian):
            raise TypeError(
                f"lagrangian of layer {name!r} must be a Lagrangian, got {lagrangian!r}; "
                "hopmix.memory.lagrangian.lagrangian(name) makes one by name"
            )
        if not isinstance(shape, Iterable):
            raise TypeError(f"shape of layer {name!r} must be a tuple of positive integers, got {shape!r}")
        found = tuple(shape)
        try:
            shape = tuple(size("shape", n) for n in found)
        except ValueError:
            shape = ()
        if not shape:
            raise ValueError(f"shape of layer {name!r} must be one or more positive integers, got {found}")
        time_constant = number(f"time_constant of layer {name!r}", time_constant, "zero")
        lagrangian.check_shape(shape)
        self.name = name
        self.shape = shape
        self.lagrangian = lagrangian
        self.time_constant = time_constant

    @property
    def adiabatic(self) -> bool:
        return self.time_constant == 0

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    def extra_repr(self) -> str:
        return f"{self.name!r}, shape={self.shape}, time_constant={self.time_constant:g}"
