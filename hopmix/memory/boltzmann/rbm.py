"""The Gaussian-Bernoulli restricted Boltzmann machine beside the attentional one (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopmix.arguments import check_batch, number
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine, check_machine
from hopmix.memory.boltzmann.mixture import GaussianMixture

_MOST_HIDDEN = 16


class GaussianBernoulliRBM(torch.nn.Module):
    """Real visible units, hidden units in {0, 1} that are active independently of each other.

        E(v, h) = |v - b|^2 / 2 - h . (W v + c),    p(v, h) = exp(-beta E) / Z

    Its density in v is a mixture of 2**hidden Gaussians, one for each set of active units; the attentional machine with the same
    numbers keeps the `hidden` sets of one unit. Raises TypeError for what is no machine, ValueError for
    more than 16 hidden units where all sets are enumerated.
    """

    def __init__(self, machine: AttentionalBoltzmannMachine):
        super().__init__()
        check_machine(machine)
        self.inverse_temperature = machine.inverse_temperature
        self.weight, self.visible_bias, self.hidden_bias = machine.weight, machine.visible_bias, machine.hidden_bias

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h): (batch, visible) and (batch, hidden) to (batch,)."""
        fields = self._fields(v)
        check_batch("h", h, (fields.shape[1],), self.weight)
        return (v - self.visible_bias).square().sum(1) / 2 - (h * fields).sum(1)

    def free_energy(self, v: Tensor) -> Tensor:
        """-(1/beta) log sum_h exp(-beta E(v, h)): (batch,)."""
        beta, fields = self.inverse_temperature, self._fields(v)
        return (v - self.visible_bias).square().sum(1) / 2 - torch.nn.functional.softplus(beta * fields).sum(1) / beta

    def update(self, v: Tensor) -> Tensor:
        """b + W^T sigmoid(beta (W v + c)): (batch, visible)."""
        return self.visible_bias + torch.sigmoid(self.inverse_temperature * self._fields(v)) @ self.weight

    def subsets(self) -> Tensor:
        """All hidden states: (2**hidden, hidden) of zeros and ones, the empty set first."""
        hidden = self.weight.shape[0]
        if hidden > _MOST_HIDDEN:
            raise ValueError(f"hidden: {hidden} units have 2**{hidden} states; allowed: at most {_MOST_HIDDEN} units")
        states = torch.arange(2**hidden, device=self.weight.device)[:, None] >> torch.arange(hidden, device=self.weight.device)
        return (states & 1).to(self.weight.dtype)

    def log_weights(self, suppression: float = 0.0) -> Tensor:
        """Log of the unnormalised weight of each subset, its factor (2 pi / beta)^(visible/2) left out: (2**hidden,).

        suppression : kappa; each active unit costs a factor exp(-kappa).
        """
        h, kappa = self.subsets(), number("suppression", suppression)
        mean = h @ self.weight
        exponent = mean.square().sum(1) / 2 + mean @ self.visible_bias + h @ self.hidden_bias
        return self.inverse_temperature * exponent - kappa * h.sum(1)

    def log_partition(self) -> Tensor:
        """log Z by summing over all subsets of active units."""
        constant = self.weight.shape[1] / 2 * math.log(2 * math.pi / self.inverse_temperature)
        return torch.logsumexp(self.log_weights(), 0) + constant

    def as_mixture(self, suppression: float = 0.0, active: tuple[int, ...] | None = None) -> GaussianMixture:
        """The density in v, for active only of the states with so many active units, such as (1,) or (1, 2, 3).

        suppression : kappa, as in ``log_weights``. Raises ValueError where no state is left.
        """
        h = self.subsets()
        logits = self.log_weights(suppression)
        if active is not None:
            kept = torch.isin(h.sum(1), torch.tensor(active, dtype=h.dtype, device=h.device))
            if not bool(kept.any()):
                raise ValueError(f"active: no state has {active} active units; allowed: numbers from 0 to {h.shape[1]}")
            h, logits = h[kept], logits[kept]
        return GaussianMixture(torch.softmax(logits, 0), self.visible_bias + h @ self.weight, self.inverse_temperature)

    def dilute(self, suppression: float) -> GaussianMixture:
        """The density with c lowered by suppression / beta, given that at least one unit is active: tends to the attentional machine."""
        return self.as_mixture(suppression, tuple(range(1, self.weight.shape[0] + 1)))

    def _fields(self, v: Tensor) -> Tensor:
        check_batch("v", v, (self.weight.shape[1],), self.weight)
        return torch.nn.functional.linear(v, self.weight, self.hidden_bias)

    def forward(self, v: Tensor) -> Tensor:
        return self.update(v)


def dilute_rate(rbm: GaussianBernoulliRBM) -> float:
    """Z_2 / Z_1, total weight of the states with two active units over that of the states with one.

    To first order in exp(-kappa) the total variation between the diluted RBM and the attentional machine is exp(-kappa) times this,
    times the total variation between the densities with exactly two and exactly one unit active.
    """
    active = rbm.subsets().sum(1)
    if rbm.weight.shape[0] < 2:
        return 0.0
    logits = rbm.log_weights()
    return float((torch.logsumexp(logits[active == 2], 0) - torch.logsumexp(logits[active == 1], 0)).exp())
