"""Training an attentional Boltzmann machine: expectation-maximisation and gradients (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import torch
from torch import Tensor

from hopmix.arguments import check_batch, check_finite, generator, number, size
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine, check_machine
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.training import train


def start_from_data(machine: AttentionalBoltzmannMachine, v: Tensor, seed: int | torch.Generator = 0) -> None:
    """Put the means b + w on different random samples and make all weights of the mixture equal, in place.

    v : (samples, visible). Raises ValueError for fewer samples than hidden units.
    """
    check_machine(machine)
    check_batch("v", v, (machine.visible,), machine.weight)
    if len(v) < machine.hidden:
        raise ValueError(f"v must have at least one sample for each of {machine.hidden} hidden units, got {len(v)}")
    chosen = torch.randperm(len(v), generator=generator(seed))[: machine.hidden]
    machine.set_mixture(v.new_full((machine.hidden,), 1 / machine.hidden), v[chosen.to(v.device)])


@torch.no_grad()
def em_step(machine: AttentionalBoltzmannMachine, v: Tensor) -> None:
    """One step of expectation-maximisation in place, keeping b and beta; the log-likelihood never falls.

        r = softmax(beta (W v + c)),    pi = <r>,    m = <r v^T> / <r>

    A unit that takes no sample at all keeps its mean, and the smallest weight that is a normal number. v : (samples, visible).
    Source: dempster1977maximum.
    """
    check_machine(machine)
    r = machine.responsibilities(v)
    if len(v) == 0:
        raise ValueError("v must hold at least one sample, got none")
    mass = r.sum(0)
    tiny = torch.finfo(v.dtype).tiny
    means = torch.where(mass[:, None] > tiny, r.mT @ v / mass.clamp_min(tiny)[:, None], machine.visible_bias + machine.weight)
    machine.set_mixture((mass / len(v)).clamp_min(tiny), means)


@torch.no_grad()
def fit_em(machine: AttentionalBoltzmannMachine, v: Tensor, steps: int, tolerance: float | None = None) -> list[float]:
    """Steps of expectation-maximisation in place; returns the mean log-likelihood before each step and after the last.

    tolerance : stop as soon as a step gains no more than this per sample; None takes all steps.

    Raises
    ------
    NotConverged : with a tolerance, the last of `steps` steps still gained more.
    """
    check_machine(machine)
    check_batch("v", v, (machine.visible,), machine.weight)
    check_finite("v", v)
    steps = size("steps", steps)
    allowed = None if tolerance is None else number("tolerance", tolerance, "zero")
    history = [float(machine.log_likelihood(v).mean())]
    for _ in range(steps):
        em_step(machine, v)
        history.append(float(machine.log_likelihood(v).mean()))
        if allowed is not None and history[-1] - history[-2] <= allowed:
            return history
    if allowed is not None:
        gain = history[-1] - history[-2]
        raise NotConverged(f"expectation-maximisation: the last step still gained more than tolerance {allowed:g}", gain, steps)
    return history


def fit_gradient(
    machine: AttentionalBoltzmannMachine,
    v: Tensor,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimiser: str = "sgd",
    schedule: str = "constant",
    biases: bool = True,
    seed: int | torch.Generator = 0,
) -> list[float]:
    """Ascend the exact likelihood by minibatches, in place; returns each epoch's mean negative log-likelihood.

    biases : False trains W alone. Arguments and errors otherwise as in ``hopmix.training.train``.
    """
    check_machine(machine)
    check_batch("v", v, (machine.visible,), machine.weight)
    check_finite("v", v)
    parameters = list(machine.parameters()) if biases else [machine.weight]
    return train(
        parameters,
        lambda batch, _: -machine.log_likelihood(batch).mean(),
        [v],
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimiser=optimiser,
        schedule=schedule,
        seed=seed,
    )


def live_units(machine: AttentionalBoltzmannMachine, v: Tensor) -> int:
    """How many hidden units are the most responsible one for at least one sample; v : (samples, visible)."""
    check_machine(machine)
    return len(torch.unique(machine.fields(v).argmax(1)))
