"""The Lagrangian of tanh neurons (page: book/memory/hopfield_mixer.md)."""

import math

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Elementwise, check_state


class Tanh(Elementwise):
    """L(x) = sum log cosh x."""

    convex = True

    def potential(self, x: Tensor) -> Tensor:
        # log cosh x = x - log sigmoid(2x) - log 2 overflows nowhere and is smooth at 0, unlike
        # the form with |x|, whose second derivative autograd gets wrong there.
        return x - torch.nn.functional.logsigmoid(2 * x) - math.log(2)

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return torch.tanh(x)

    def curvature(self, x: Tensor) -> Tensor:
        return 1 - torch.tanh(x).square()
