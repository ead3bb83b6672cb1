"""What all wide linear layers can do (page: book/mixers/wide_sparse.md)."""

import math
from abc import ABC, abstractmethod

import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from hopmix.arguments import available_device, check_batch, floating_dtype, generator, number, size


class WideLinear(torch.nn.Module, ABC):
    """A linear map of long vectors, (batch, inputs) to (batch, outputs), with few trainable numbers or few connections.

    The two counts are different things: ``connections`` are the multiplications for one input, that is the nonzero entries of
    the wide matrix, equal ones counted each time; ``trainable`` are the numbers that training may change.

    A subclass sets ``inputs``, ``outputs``, ``connections``, has its weights among its parameters, and defines
    ``_apply_to`` and ``matrix``.
    """

    def __init__(self, inputs: int, outputs: int, connections: int):
        super().__init__()
        self.inputs, self.outputs, self.connections = inputs, outputs, connections

    @property
    def trainable(self) -> int:
        """How many numbers training may change."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def density(self) -> float:
        """Connections over the entries of a dense matrix of this shape."""
        return self.connections / (self.inputs * self.outputs)

    def forward(self, x: Tensor) -> Tensor:
        check_batch("x", x, (self.inputs,), next(self.parameters()))
        return self._apply_to(x)

    def transposed(self, y: Tensor) -> Tensor:
        """The transpose of the map: (batch, outputs) to (batch, inputs), by reverse differentiation, without gradients.

        Raises
        ------
        ValueError, TypeError : y does not fit.
        """
        check_batch("y", y, (self.outputs,), next(self.parameters()))
        x = torch.zeros(len(y), self.inputs, dtype=y.dtype, device=y.device, requires_grad=True)
        with torch.enable_grad():
            (found,) = torch.autograd.grad(self._apply_to(x), x, y)
        return found

    @abstractmethod
    def matrix(self) -> scipy.sparse.csr_array:
        """The wide matrix, (outputs, inputs), as scipy.sparse: for looking at it and for tests."""

    def linear_operator(self) -> LinearOperator:
        """The same map for scipy's iterative solvers, such as ``scipy.sparse.linalg.svds``; it shares the weights."""
        weight = next(self.parameters())

        def run(function):
            def product(vectors):
                rows = torch.as_tensor(vectors.reshape(len(vectors), -1).T.copy(), dtype=weight.dtype, device=weight.device)
                with torch.no_grad():
                    found = function(rows).T.cpu().numpy()
                return found.reshape(-1) if vectors.ndim == 1 else found

            return product

        forth, back = run(self._apply_to), run(self.transposed)
        dtype = torch.empty(0, dtype=weight.dtype).numpy().dtype
        return LinearOperator((self.outputs, self.inputs), matvec=forth, rmatvec=back, matmat=forth, rmatmat=back, dtype=dtype)

    @abstractmethod
    def _apply_to(self, x: Tensor) -> Tensor:
        """The map, for an x that has been checked."""

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, connections={self.connections}, trainable={self.trainable}"


def normal_weight(
    *shape: int,
    fan_in: float,
    gain: float,
    seed: int | torch.Generator,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> torch.nn.Parameter:
    """Normal with variance gain^2 / fan_in, drawn on the CPU; fan_in counts connections, not the width."""
    gain = number("gain", gain, "zero")
    drawn = torch.randn(shape, generator=generator(seed), dtype=torch.float64) * (gain / math.sqrt(fan_in))
    return torch.nn.Parameter(drawn.to(available_device(device), floating_dtype(dtype, torch.get_default_dtype())))


def optional_size(name: str, value: int | None, default: int) -> int:
    return default if value is None else size(name, value)


def as_array(weight: Tensor):
    """The numbers of a weight for scipy."""
    return weight.detach().cpu().numpy()
