"""The attentional machine as a denoising autoencoder with tied weights, and its score matching (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_batch, number
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine, check_machine


def score_at(machine: AttentionalBoltzmannMachine, v: Tensor, noise: float) -> Tensor:
    """The score of exp(-E / noise^2): (update(v) - v) / noise^2, (batch, visible). At noise^2 = 1 / beta that of the machine itself.

    Raises TypeError and ValueError, like all functions here, for what is no machine, samples (batch, visible) or positive noise.
    """
    check_machine(machine)
    return (machine.update(v) - v) / number("noise", noise, "positive") ** 2


def divergence(machine: AttentionalBoltzmannMachine, v: Tensor, noise: float) -> Tensor:
    """The divergence of ``score_at``: [beta (r . |w|^2 - |W^T r|^2) - visible] / noise^2, (batch,)."""
    check_machine(machine)
    noise = number("noise", noise, "positive")
    r = machine.responsibilities(v)
    spread = r @ machine.weight.square().sum(1) - (r @ machine.weight).square().sum(1)
    return (machine.inverse_temperature * spread - machine.visible) / noise**2


def denoising_loss(machine: AttentionalBoltzmannMachine, clean: Tensor, noisy: Tensor, noise: float) -> Tensor:
    """Denoising score matching, |score(noisy) - (clean - noisy) / noise^2|^2 / 2 for each sample: (batch,).

    Equal to the error |update(noisy) - clean|^2 / (2 noise^4) of a denoising autoencoder with tied weights and softmax units.
    Source: vincent2011connection for sigmoid units.
    """
    score = score_at(machine, noisy, noise)
    check_batch("clean", clean, (machine.visible,), machine.weight)
    return (score - (clean - noisy) / noise**2).square().sum(1) / 2


def implicit_loss(machine: AttentionalBoltzmannMachine, v: Tensor, noise: float) -> Tensor:
    """Implicit score matching, |score|^2 / 2 + div score at each sample: (batch,). Source: hyvarinen2005estimation."""
    return score_at(machine, v, noise).square().sum(1) / 2 + divergence(machine, v, noise)


def smoothed_score(data: Tensor, v: Tensor, noise: float) -> Tensor:
    """The score at v (batch, visible) of data (samples, visible) with normal noise added, each point a Gaussian: (batch, visible)."""
    noise = number("noise", noise, "positive")
    if not isinstance(data, Tensor) or data.dim() != 2 or not data.is_floating_point() or len(data) == 0:
        raise TypeError(f"data must be a floating-point tensor (samples, visible), got {getattr(data, 'shape', type(data).__name__)}")
    check_batch("v", v, (data.shape[1],), data)
    p = torch.softmax(-torch.cdist(v, data).square() / (2 * noise**2), 1)
    return (p @ data - v) / noise**2
