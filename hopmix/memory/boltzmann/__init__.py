"""Attentional and dense Boltzmann machines (page: book/memory/boltzmann.md).

>>> import torch
>>> machine = AttentionalBoltzmannMachine(visible=4, hidden=3)
>>> v = machine.sample(5)
>>> bool(torch.allclose(machine.log_likelihood(v), machine.as_mixture().log_density(v)))
True
>>> machine.reconstruct(v, torch.tensor([True, True, False, False])).shape
torch.Size([5, 4])
"""

from hopmix.memory.boltzmann.dense import DenseBoltzmannMachine
from hopmix.memory.boltzmann.denoising import denoising_loss, divergence, implicit_loss, score_at, smoothed_score
from hopmix.memory.boltzmann.fit import em_step, fit_em, fit_gradient, live_units, start_from_data
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine
from hopmix.memory.boltzmann.mixture import GaussianMixture, power_mixture
from hopmix.memory.boltzmann.model_b import Shifted, as_memory, joint_energy
from hopmix.memory.boltzmann.rbm import GaussianBernoulliRBM, dilute_rate

__all__ = [
    "AttentionalBoltzmannMachine",
    "GaussianMixture",
    "power_mixture",
    "start_from_data",
    "em_step",
    "fit_em",
    "fit_gradient",
    "live_units",
    "GaussianBernoulliRBM",
    "dilute_rate",
    "Shifted",
    "as_memory",
    "joint_energy",
    "denoising_loss",
    "implicit_loss",
    "divergence",
    "score_at",
    "smoothed_score",
    "DenseBoltzmannMachine",
]
