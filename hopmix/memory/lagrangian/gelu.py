"""GELU's Lagrangian, which is not convex (page: book/memory/lagrangian.md)."""

import math

import torch
from torch import Tensor

from hopmix.memory.lagrangian.base import Elementwise, check_direction, check_state

_SQRT_HALF = math.sqrt(0.5)
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


class GELU(Elementwise):
    """L(x) = sum Phi(x), with Phi' = GELU in its error-function form x (1 + erf(x/sqrt 2)) / 2.

        Phi(x) = (x^2 + (x^2 - 1) erf(x/sqrt 2) + x sqrt(2/pi) exp(-x^2/2)) / 4

    Phi(0) = 0, Phi(x) -> 1/4 at minus infinity and Phi(x) - x^2/2 -> -1/4 at plus infinity.
    Phi'' < 0 below x = -0.7518, hence ``convex`` is False. The tanh form of GELU is another
    function (it differs by up to 5e-4) and has another Lagrangian.
    """

    convex = False

    def potential(self, x: Tensor) -> Tensor:
        # Grouped as x^2 (1 + erf) - erf, because x^2 + x^2 erf loses its digits for large negative x.
        square, erf = x.square(), torch.erf(x * _SQRT_HALF)
        return (square * (1 + erf) - erf + _SQRT_2_OVER_PI * x * (square / -2).exp_()) / 4

    def activation(self, x: Tensor) -> Tensor:
        check_state(x)
        return torch.nn.functional.gelu(x)

    def curvature(self, x: Tensor) -> Tensor:
        return (1 + torch.erf(x * _SQRT_HALF) + _SQRT_2_OVER_PI * x * x.square().div_(-2).exp_()) / 2

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        check_direction(x, v)
        # curvature(x) * v in one pass of torch's own kernel, several times faster.
        return torch.ops.aten.gelu_backward(v, x)
