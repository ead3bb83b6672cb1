"""Dense associative memories of binary neurons (page: book/memory/attention.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_batch, size
from hopmix.memory.attention.models import check_patterns

_BLOCK = 2**22  # entries of one block of patterns or overlaps: 32 MiB of float64


class DenseMemory:
    """Neurons of +-1 with the energy E = - sum over patterns of F(overlap): krotov2016dense, demircigil2017model.

    Parameters
    ----------
    patterns : (patterns, neurons) floating point, every entry +1 or -1.
    degree : F(m) = m**degree, an integer from 2 on; None for F(m) = exp(m - neurons), the exponential energy in units in
        which its largest term is 1.

    A neuron is set to the sign with the lower energy, the others held: krotov2016dense calls it the difference of energies. Sums are
    taken in blocks of patterns, so that their number is limited by the patterns' own memory alone.

    Raises TypeError and ValueError, naming the argument.
    """

    def __init__(self, patterns: Tensor, degree: int | None):
        check_patterns("patterns", patterns)
        if not bool((patterns.abs() == 1).all()):
            raise ValueError("patterns must have entries +1 and -1 alone")
        self.patterns = patterns
        self.degree = None if degree is None else size("degree", degree, least=2)

    @property
    def neurons(self) -> int:
        return self.patterns.shape[1]

    def potential(self, overlap: Tensor) -> Tensor:
        """F, entry by entry."""
        return torch.exp(overlap - self.neurons) if self.degree is None else overlap**self.degree

    def energy(self, state: Tensor) -> Tensor:
        """E: (batch, neurons) gives (batch,)."""
        self._check(state)
        return -sum(self.potential(state @ block.mT).sum(1) for block in self._blocks(state))

    def flip_cost(self, state: Tensor) -> Tensor:
        """How much the energy rises when one neuron is flipped: (batch, neurons) of such states gives (batch, neurons). Raises as the class for what is no such states."""
        self._check(state)
        even, odd = state.new_zeros(len(state), 1), torch.zeros_like(state)
        for block in self._blocks(state):
            overlap = state @ block.mT
            # A flip moves the overlap by -2 or +2: the mean of both, and half the difference with the neuron's own sign.
            below, above = self.potential(overlap - 2), self.potential(overlap + 2)
            even += (self.potential(overlap) - (below + above) / 2).sum(1, keepdim=True)
            odd += ((above - below) / 2) @ block
        return even + state * odd

    def step(self, state: Tensor) -> Tensor:
        """All neurons at once to the sign with the lower energy; ties keep it: (batch, neurons)."""
        return torch.where(self.flip_cost(state) < 0, -state, state)

    def _check(self, state: Tensor) -> None:
        check_batch("state", state, (self.neurons,), self.patterns)
        if not bool((state.abs() == 1).all()):
            raise ValueError("state must have entries +1 and -1 alone")

    def _blocks(self, state: Tensor):
        return self.patterns.split(max(1, _BLOCK // max(self.neurons, len(state))))


def dense_memory(patterns: Tensor, degree: int | None = 3) -> DenseMemory:
    """A dense associative memory of the patterns, (patterns, neurons) of +-1; see ``DenseMemory``.

    >>> import torch
    >>> patterns = torch.tensor([[1.0, 1, 1, 1, -1], [1, -1, -1, 1, 1]], dtype=torch.float64)
    >>> memory = dense_memory(patterns, degree=3)
    >>> bool((memory.step(patterns) == patterns).all())
    True
    """
    return DenseMemory(patterns, degree)


def random_patterns(count: int, neurons: int, seed: int | torch.Generator = 0, device: object = None) -> Tensor:
    """Independent fair signs: (count, neurons) float64. Raises as ``hopmix.arguments.generator`` and ``size`` do."""
    from hopmix.arguments import available_device, generator

    stream = generator(seed)
    bits = torch.randint(2, (size("count", count), size("neurons", neurons)), generator=stream, dtype=torch.int8)
    return bits.to(available_device(device) or "cpu").to(torch.float64).mul_(2).sub_(1)
