"""Mixtures of Gaussians with one common spherical covariance (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hopmix.arguments import check_batch, check_finite, generator, number, size

if TYPE_CHECKING:
    from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k weights_k N(means_k, 1 / precision).

    weights : (components,), not negative, of sum one. means : (components, visible). precision : beta > 0.

    Raises
    ------
    TypeError, ValueError : what is no tensor, of another shape, no probability, or no positive precision.
    """

    weights: Tensor
    means: Tensor
    precision: float = 1.0

    def __post_init__(self):
        for name, dimension in (("weights", 1), ("means", 2)):
            value = getattr(self, name)
            if not isinstance(value, Tensor) or not value.is_floating_point():
                raise TypeError(f"{name} must be a floating-point tensor, got {getattr(value, 'dtype', type(value).__name__)}")
            if value.dim() != dimension or value.numel() == 0:
                raise ValueError(f"{name} must have {dimension} axes and entries, got shape {tuple(value.shape)}")
        if len(self.weights) != len(self.means):
            raise ValueError(f"means must be one for each of the {len(self.weights)} weights, got {len(self.means)}")
        check_finite("means", self.means)
        total = float(self.weights.detach().sum())
        if not bool((self.weights >= 0).all()) or not abs(total - 1) < 1e-4:
            raise ValueError(f"weights must not be negative and have sum 1, got sum {total!r} and least {float(self.weights.min())!r}")
        object.__setattr__(self, "precision", number("precision", self.precision, "positive"))

    def log_density(self, v: Tensor) -> Tensor:
        """log p(v): (batch, visible) to (batch,)."""
        return torch.logsumexp(self._log_joint(v), 1)

    def responsibilities(self, v: Tensor) -> Tensor:
        """The posterior of the component: (batch, components)."""
        return torch.softmax(self._log_joint(v), 1)

    def sample(self, samples: int, seed: int | torch.Generator = 0) -> Tensor:
        """Independent samples: (samples, visible). The same seed draws the same components and noise on every device."""
        stream = generator(seed)
        samples = size("samples", samples)
        chosen = torch.multinomial(self.weights.detach().cpu().double(), samples, replacement=True, generator=stream)
        noise = torch.randn(samples, self.means.shape[1], generator=stream, dtype=torch.float64)
        means = self.means.detach()
        return means[chosen.to(means.device)] + noise.to(means) / math.sqrt(self.precision)

    def _log_joint(self, v: Tensor) -> Tensor:
        check_batch("v", v, (self.means.shape[1],), self.means)
        # |v - m|^2 is formed from products: the batch times components times visible entries would not fit a memory.
        square = v.square().sum(1, keepdim=True) - 2 * v @ self.means.mT + self.means.square().sum(1)
        constant = self.means.shape[1] / 2 * math.log(self.precision / (2 * math.pi))
        return self.weights.log() - self.precision / 2 * square.clamp_min(0) + constant


def power_mixture(machine: AttentionalBoltzmannMachine, order: int) -> tuple[GaussianMixture, Tensor]:
    """The density exp(-beta |v - b|^2 / 2 + order * lse(beta (W v + c) / order)) as a mixture, and the log of its partition function.

    A softmax that is `order` times warmer than the machine: the power of the sum expands into hidden**order Gaussians, which agree for
    reordered units, so one component for each multiset, with its multiplicity. order 1 is ``machine.as_mixture()``.

    Raises ValueError for an order that is not a positive integer, or more than 10**6 components.
    """
    order = size("order", order)
    count = math.comb(machine.hidden + order - 1, order)
    if count > 10**6:
        raise ValueError(f"order: {order} with {machine.hidden} hidden units gives {count} components; allowed: at most 1000000")
    beta, b = machine.inverse_temperature, machine.visible_bias
    chosen = torch.tensor(list(combinations_with_replacement(range(machine.hidden), order)), device=b.device)  # (components, order)
    counts = torch.nn.functional.one_hot(chosen, machine.hidden).sum(1).to(b.dtype)
    log_multiplicity = math.lgamma(order + 1) - torch.lgamma(counts + 1).sum(1)
    mean_weight = counts @ machine.weight / order
    exponent = mean_weight.square().sum(1) / 2 + mean_weight @ b + counts @ machine.hidden_bias / order
    logits = beta * exponent + log_multiplicity
    log_partition = torch.logsumexp(logits, 0) + machine.visible / 2 * math.log(2 * math.pi / beta)
    return GaussianMixture(torch.softmax(logits, 0), b + mean_weight, beta), log_partition
