"""Quadrature over the plane for machines with two visible units (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import size
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine
from hopmix.memory.boltzmann.mixture import GaussianMixture

_REACH = 9.0  # standard deviations around all means; what lies outside is below rounding


def plane(means: Tensor, precision: float, points: int = 241) -> tuple[Tensor, float]:
    """A square grid around all `means` (components, 2): its points (points**2, 2) and the area of one.

    Smooth densities of this precision vanish at its edge, where the sum times the area is exact to rounding if the grid is finer than the
    standard deviation. Raises ValueError for means of another number of entries.
    """
    if means.dim() != 2 or means.shape[1] != 2:
        raise ValueError(f"means must be (components, 2), the plane, got {tuple(means.shape)}")
    reach = float(means.detach().abs().max()) + _REACH / precision**0.5
    axis = torch.linspace(-reach, reach, size("points", points, least=2), dtype=means.dtype, device=means.device)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


def grid_of(machine: AttentionalBoltzmannMachine, points: int = 241) -> tuple[Tensor, float]:
    """The plane for a machine and for every sum of its rows, which the Gaussian-Bernoulli RBM needs."""
    corner = machine.visible_bias.abs() + machine.weight.abs().sum(0)
    return plane(corner[None], machine.inverse_temperature, points)


def total_variation(first: GaussianMixture, second: GaussianMixture, points: int = 241) -> float:
    """Half the integral of |p - q| over the plane."""
    v, area = plane(torch.cat([first.means, second.means]), min(first.precision, second.precision), points)
    return float((first.log_density(v).exp() - second.log_density(v).exp()).abs().sum().detach() * area / 2)
