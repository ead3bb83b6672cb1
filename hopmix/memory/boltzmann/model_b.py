"""The attentional machine as an associative memory with one visible and one softmax layer (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_batch, number
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine, check_machine
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.lagrangian import Lagrangian, Quadratic, Softmax


class Shifted(Lagrangian):
    """L(x + shift) for another Lagrangian L: how a bias enters a memory.

    shift : (*shape) of the layer. Raises TypeError for what is no Lagrangian or no floating-point tensor.
    """

    def __init__(self, lagrangian: Lagrangian, shift: Tensor):
        super().__init__()
        if not isinstance(lagrangian, Lagrangian):
            raise TypeError(f"lagrangian must be a Lagrangian, got {type(lagrangian).__name__}")
        if not isinstance(shift, Tensor) or not shift.is_floating_point():
            raise TypeError(f"shift must be a floating-point tensor, got {getattr(shift, 'dtype', type(shift).__name__)}")
        self.lagrangian, self.shift = lagrangian, shift

    @property
    def convex(self) -> bool:
        return self.lagrangian.convex

    def value(self, x: Tensor) -> Tensor:
        return self.lagrangian.value(x + self.shift)

    def activation(self, x: Tensor) -> Tensor:
        return self.lagrangian.activation(x + self.shift)

    def hessian_product(self, x: Tensor, v: Tensor) -> Tensor:
        return self.lagrangian.hessian_product(x + self.shift, v)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.lagrangian.check_shape(shape)
        if tuple(self.shift.shape) != tuple(shape):
            raise ValueError(f"shift must have the layer's shape {tuple(shape)}, got {tuple(self.shift.shape)}")


def as_memory(machine: AttentionalBoltzmannMachine, hidden_time_constant: float = 0.0) -> HierarchicalMemory:
    """Layers "visible" (quadratic) and "hidden" (softmax) with the machine's weights: model B of krotov2021large with biases.

    The visible state is v - b, its activation v. With hidden_time_constant 0 the hidden layer is adiabatic and the memory's energy is
    that of the machine less |b|^2 / 2; its leaky Euler step of size one is ``machine.update``. Otherwise the state holds "hidden", h,
    and the energy is larger by KL(softmax(beta (h + c)) || responsibilities) / beta. Raises TypeError for what is no machine.
    """
    check_machine(machine)
    hidden_time_constant = number("hidden_time_constant", hidden_time_constant, "zero")
    visible = Shifted(Quadratic(), machine.visible_bias)
    hidden = Shifted(Softmax(machine.inverse_temperature), machine.hidden_bias)
    return HierarchicalMemory(
        [Layer("visible", (machine.visible,), visible), Layer("hidden", (machine.hidden,), hidden, hidden_time_constant)],
        [Synapse("visible", "hidden", Dense(machine.weight))],
    )


def joint_energy(machine: AttentionalBoltzmannMachine, v: Tensor, h: Tensor) -> Tensor:
    """|v - b|^2 / 2 + h . f - lse(beta (h + c)) / beta - f . W v with f = softmax(beta (h + c)): (batch,).

    Never below ``machine.energy(v)``, and equal to it at h = W v; exp(-beta E) has no finite integral over h.
    Raises TypeError and ValueError for what is no machine, v (batch, visible) or h (batch, hidden).
    """
    check_machine(machine)
    check_batch("v", v, (machine.visible,), machine.weight)
    check_batch("h", h, (machine.hidden,), machine.weight)
    beta = machine.inverse_temperature
    f = torch.softmax(beta * (h + machine.hidden_bias), 1)
    legendre = (h * f).sum(1) - torch.logsumexp(beta * (h + machine.hidden_bias), 1) / beta
    return (v - machine.visible_bias).square().sum(1) / 2 + legendre - (f * (v @ machine.weight.mT)).sum(1)
