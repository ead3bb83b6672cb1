"""Dense Boltzmann machines: spins joined to real hidden units by a power (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hopmix.arguments import check_batch, check_finite, generator, size

_POINTS = 2001
_MOST_SPINS = 16


class DenseBoltzmannMachine(torch.nn.Module):
    """Spins s in {-1, 1} and real hidden units h with F(h) = h**order / order.

        E(s, h) = sum_mu [h_mu F'(h_mu) - F(h_mu)] - sum_mu F'(h_mu) xi_mu . s,    p(s, h) = exp(-E) / Z

    Both conditionals factorise. Order 2 has the marginal exp(sum_mu F(xi_mu . s)), a Hopfield network; higher orders have another one.

    Parameters
    ----------
    patterns : xi, (hidden, spins). order : even, since exp(-E) has no integral over h else.

    Sources: krotov2016dense, krotov2021large for the energy; welling2004exponential for the family.

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """

    def __init__(self, patterns: Tensor, order: int = 2):
        super().__init__()
        if not isinstance(patterns, Tensor) or not patterns.is_floating_point() or patterns.dim() != 2 or patterns.numel() == 0:
            raise TypeError(f"patterns must be a floating-point tensor (hidden, spins), got {getattr(patterns, 'shape', type(patterns).__name__)}")
        check_finite("patterns", patterns)
        self.order = size("order", order, least=2)
        if self.order % 2:
            raise ValueError(f"order must be even, so that exp(-E) has an integral over h, got {order}")
        self.register_buffer("patterns", patterns)

    def energy(self, s: Tensor, h: Tensor) -> Tensor:
        """E(s, h): (batch, spins) and (batch, hidden) to (batch,)."""
        self._check_hidden(h)
        return ((1 - 1 / self.order) * h**self.order - h ** (self.order - 1) * self.fields(s)).sum(1)

    def fields(self, s: Tensor) -> Tensor:
        """xi . s: (batch, spins) to (batch, hidden)."""
        check_batch("s", s, (self.patterns.shape[1],), self.patterns)
        return s @ self.patterns.mT

    def spin_means(self, h: Tensor) -> Tensor:
        """The conditional mean tanh(xi^T F'(h)) of the spins: (batch, hidden) to (batch, spins)."""
        self._check_hidden(h)
        return torch.tanh(h ** (self.order - 1) @ self.patterns)

    def log_weight(self, s: Tensor) -> Tensor:
        """log of the sum over h of exp(-E(s, h)), the unnormalised log marginal: (batch,)."""
        fields = self.fields(s)
        if self.order == 2:
            return (fields.square() / 2 + math.log(2 * math.pi) / 2).sum(1)
        distinct, back = torch.unique(fields, return_inverse=True)
        grid, density = self._conditional(distinct)
        # All densities vanish at both ends with all derivatives: there the trapezoid rule is exact to rounding.
        return (torch.logsumexp(density, 1) + math.log(float(grid[1] - grid[0])))[back].sum(1)

    def dense_memory_weight(self, s: Tensor) -> Tensor:
        """sum_mu F(xi_mu . s), less the energy of the dense associative memory: (batch,)."""
        return (self.fields(s) ** self.order / self.order).sum(1)

    def states(self) -> Tensor:
        """All spin states: (2**spins, spins). Raises ValueError for more than 16 spins."""
        spins = self.patterns.shape[1]
        if spins > _MOST_SPINS:
            raise ValueError(f"spins: {spins} have 2**{spins} states; allowed: at most {_MOST_SPINS}")
        bits = torch.arange(2**spins, device=self.patterns.device)[:, None] >> torch.arange(spins, device=self.patterns.device)
        return (2 * (bits & 1) - 1).to(self.patterns.dtype)

    def sample_spins(self, h: Tensor, seed: int | torch.Generator = 0) -> Tensor:
        """Spins given the hidden units, independent of each other: (batch, spins) of -1 and 1."""
        mean = self.spin_means(h)
        uniform = torch.rand(mean.shape, generator=generator(seed), dtype=torch.float64).to(mean)
        return torch.where(uniform < (1 + mean) / 2, 1.0, -1.0).to(mean.dtype)

    def sample_hidden(self, s: Tensor, seed: int | torch.Generator = 0) -> Tensor:
        """Hidden units given the spins, independent of each other: (batch, hidden).

        Order 2 is exact; above, the inverse distribution function on a grid of 2001 points, linear between them.
        """
        fields, stream = self.fields(s), generator(seed)
        if self.order == 2:
            return fields + torch.randn(fields.shape, generator=stream, dtype=torch.float64).to(fields)
        distinct, back = torch.unique(fields, return_inverse=True)
        grid, density = self._conditional(distinct)
        middle = (density.softmax(1)[:, 1:] + density.softmax(1)[:, :-1]) / 2
        below = torch.cat([torch.zeros_like(middle[:, :1]), middle.cumsum(1)], 1)
        below = below / below[:, -1:]
        uniform = torch.rand(fields.shape, generator=stream, dtype=torch.float64).to(fields)
        # Row r of the table is lifted to [r, r + 1], so that one sorted list holds all rows.
        rows = torch.arange(len(distinct), device=fields.device, dtype=fields.dtype)
        lifted = (below + rows[:, None]).flatten()
        place = torch.searchsorted(lifted, (uniform + rows[back]).flatten(), right=True).reshape(fields.shape)
        right = (place - back * len(grid)).clamp(1, len(grid) - 1)
        low, high = below[back, right - 1], below[back, right]
        share = ((uniform - low) / (high - low).clamp_min(torch.finfo(fields.dtype).tiny)).clamp(0, 1)
        return grid[right - 1] + share * (grid[1] - grid[0])

    def gibbs(self, chains: int, sweeps: int, seed: int | torch.Generator = 0) -> Tensor:
        """Spins of independent chains after so many alternating sweeps over hidden units and spins, from random states: (chains, spins)."""
        stream = generator(seed)
        shape = (size("chains", chains), self.patterns.shape[1])
        s = (2 * torch.randint(0, 2, shape, generator=stream) - 1).to(self.patterns)
        for _ in range(size("sweeps", sweeps)):
            s = self.sample_spins(self.sample_hidden(s, stream), stream)
        return s

    def _check_hidden(self, h: Tensor) -> None:
        check_batch("h", h, (self.patterns.shape[0],), self.patterns)

    def _conditional(self, fields: Tensor) -> tuple[Tensor, Tensor]:
        """A grid of h, and the log density of h at each field up to its constant: (points,) and (fields, points)."""
        reach = float(fields.abs().max()) + 80.0 ** (1 / self.order) + 2
        grid = torch.linspace(-reach, reach, _POINTS, dtype=fields.dtype, device=fields.device)
        power = grid ** (self.order - 1)
        return grid, fields[:, None] * power - (1 - 1 / self.order) * grid * power
