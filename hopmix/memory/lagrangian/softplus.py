"""The Lagrangian of sigmoid neurons (page: book/memory/lagrangian.md)."""

import torch
from torch import Tensor

from hopmix.arguments import number
from hopmix.memory.lagrangian.base import Elementwise, check_state, infinite_where


class Softplus(Elementwise):
    """L(x) = sum log(1 + exp(beta x)) / beta, so that g = 1 / (1 + exp(-beta x)). For large beta L = sum max(x, 0).

    Parameters
    ----------
    inverse_temperature : beta > 0.

    Raises
    ------
    TypeError, ValueError : inverse_temperature is no real number, or not positive and finite.
    """

    convex = True

    def __init__(self, inverse_temperature: float = 1.0):
        super().__init__()
        self.inverse_temperature = number("inverse_temperature", inverse_temperature, "positive")

    def potential(self, x: Tensor) -> Tensor:
        # Not torch's softplus, which is the identity from 20 on and so wrong in the tenth digit there.
        return -torch.nn.functional.logsigmoid(-self.inverse_temperature * x) / self.inverse_temperature

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return torch.sigmoid(self.inverse_temperature * x)

    def curvature(self, x: Tensor) -> Tensor:
        scaled = self.inverse_temperature * x
        return self.inverse_temperature * torch.sigmoid(scaled) * torch.sigmoid(-scaled)

    def potential_conjugate(self, y: Tensor) -> Tensor:
        value = (torch.xlogy(y, y) + torch.special.xlog1py(1 - y, -y)) / self.inverse_temperature
        return infinite_where((y < 0) | (y > 1), value)

    def extra_repr(self) -> str:
        return f"inverse_temperature={self.inverse_temperature}"
