"""Dense Hebbian memories of noisy examples (page: book/memory/examples.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_batch, check_finite, generator, number, size

_BLOCK = 2**22  # entries of one block of (states, patterns, neurons): 32 MiB of float64


def check_quality(quality: object) -> float:
    """r in (0, 1]: the mean overlap of an example with its pattern. Raises TypeError and ValueError."""
    plain = number("quality", quality, "positive")
    if plain > 1:
        raise ValueError(f"quality must be at most 1, got {quality!r}")
    return plain


def check_signs(patterns: object) -> None:
    """(patterns, neurons), every entry +1 or -1. Raises TypeError and ValueError."""
    if not isinstance(patterns, Tensor) or not patterns.is_floating_point():
        raise TypeError(f"patterns must be a floating-point torch.Tensor, got {getattr(patterns, 'dtype', type(patterns).__name__)}")
    if patterns.dim() != 2 or not bool((patterns.abs() == 1).all()):
        raise ValueError(f"patterns must have shape (patterns, neurons) and entries +1 and -1 alone, got shape {tuple(patterns.shape)}")


def noisy_examples(patterns: Tensor, count: int, quality: float, seed: int | torch.Generator = 0) -> Tensor:
    """Copies of each pattern in which every neuron keeps its sign with probability (1 + quality) / 2.

    patterns (patterns, neurons) of +-1 gives (patterns, count, neurons) of +-1: agliari2023dense. Raises TypeError and ValueError,
    naming the argument.
    """
    check_signs(patterns)
    keep = torch.rand(patterns.shape[0], size("count", count), patterns.shape[1], generator=generator(seed), dtype=torch.float64)
    signs = torch.where(keep < (1 + check_quality(quality)) / 2, 1.0, -1.0).to(patterns)
    return patterns[:, None] * signs


def mean_examples(patterns: Tensor, count: int, quality: float, seed: int | torch.Generator = 0) -> Tensor:
    """The means of ``count`` noisy examples of each pattern, drawn as such: (patterns, neurons), entries from -1 to 1.

    The law is that of ``noisy_examples(...).mean(1)``; no example is ever written down. Raises as ``noisy_examples`` does.
    """
    check_signs(patterns)
    trials = torch.full(patterns.shape, float(size("count", count)), dtype=torch.float64)
    kept = torch.binomial(trials, torch.full_like(trials, (1 + check_quality(quality)) / 2), generator=generator(seed))
    return patterns * (2 * kept / count - 1).to(patterns)


class ExampleMemory:
    """Neurons of +-1 with the energy of agliari2023dense, up to a factor: each pattern is known by the mean of its examples.

    E = - sum over patterns of the sum over P different neurons of the product of mean and state at them, each set of neurons once.

    Parameters
    ----------
    means : (patterns, neurons) floating point, the mean example of each pattern, entries from -1 to 1.
    degree : P, an integer from 2 on.

    There are no terms in which a neuron occurs twice; ``hopmix.memory.attention.dense_memory`` has them, which changes the crosstalk
    for P > 2. Raises TypeError and ValueError, naming the argument.
    """

    def __init__(self, means: Tensor, degree: int):
        if not isinstance(means, Tensor) or not means.is_floating_point():
            raise TypeError(f"means must be a floating-point torch.Tensor, got {getattr(means, 'dtype', type(means).__name__)}")
        if means.dim() != 2 or means.numel() == 0:
            raise ValueError(f"means must have shape (patterns, neurons), got {tuple(means.shape)}")
        check_finite("means", means)
        if bool((means.abs() > 1).any()):
            raise ValueError("means must have entries from -1 to 1")
        self.means, self.degree = means, size("degree", degree, least=2)
        if self.degree > means.shape[1]:
            raise ValueError(f"degree must be at most the number of neurons, {means.shape[1]}, got {degree!r}")

    def field(self, state: Tensor) -> Tensor:
        """What drives each neuron, minus the energy's derivative: (batch, neurons) gives (batch, neurons).

        The sum over sets of P - 1 other neurons is their elementary symmetric polynomial, by Newton's identities.
        """
        check_batch("state", state, (self.means.shape[1],), self.means)
        rows = max(1, _BLOCK // self.means.numel())
        return torch.cat([self._field(block) for block in state.split(rows)])

    def _field(self, state: Tensor) -> Tensor:
        z = state[:, None] * self.means  # (batch, patterns, neurons)
        powers = [z.pow(k).sum(-1, keepdim=True) for k in range(1, self.degree)]
        whole = [torch.ones_like(powers[0])]
        for k in range(1, self.degree):
            terms = ((-1) ** (j - 1) * whole[k - j] * powers[j - 1] for j in range(1, k + 1))
            whole.append(sum(terms) / k)
        others = torch.ones_like(z)  # without the neuron itself: a set either holds it or not
        for k in range(1, self.degree):
            others = whole[k] - z * others
        return (others * self.means).sum(1)

    def step(self, state: Tensor) -> Tensor:
        """All neurons at once to the sign of their field; ties keep it: (batch, neurons)."""
        field = self.field(state)
        return torch.where(field == 0, state, field.sign())


def example_memory(examples: Tensor, degree: int = 2) -> ExampleMemory:
    """A memory taught with examples (patterns, count, neurons), grouped by a teacher; see ``ExampleMemory``.

    >>> from hopmix.memory.attention import random_patterns
    >>> patterns = random_patterns(3, 200, seed=0)
    >>> memory = example_memory(noisy_examples(patterns, count=40, quality=0.4), degree=3)
    >>> bool((memory.step(patterns) == patterns).double().mean() > 0.95)
    True
    """
    if not isinstance(examples, Tensor):
        raise TypeError(f"examples must be a torch.Tensor, got {type(examples).__name__}")
    if examples.dim() != 3:
        raise ValueError(f"examples must have shape (patterns, count, neurons), got {tuple(examples.shape)}")
    return ExampleMemory(examples.mean(1), degree)
