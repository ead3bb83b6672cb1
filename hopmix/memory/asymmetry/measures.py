"""What the chapter's claims are measured on (page: book/memory/asymmetry.md)."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from hopmix.memory.asymmetry.clock import CONVERGED, OSCILLATING, classify, clock_flow, cycle_frequency, late_motion
from hopmix.memory.asymmetry.ensemble import Ensemble, mixer_ensemble
from hopmix.memory.asymmetry.experiment import KS, time_flow
from hopmix.memory.asymmetry.fixed_points import HOPF, loss_of_stability
from hopmix.memory.asymmetry.spectrum import centred_basis, centred_operator, predict

SEEDS = tuple(range(16))
SIZES = (4, 3, 8, 6)  # tokens, channels and the two hidden sizes


def networks(count: int, activation: str, angle: float, seed: int = 0, **options) -> Ensemble:
    return mixer_ensemble(count, *SIZES, activation, [angle], seed=seed, **options)


def one_per_seed(activation: str, angle: float, **options) -> Ensemble:
    """One network for each of the sixteen seeds."""
    return joined([networks(1, activation, angle, seed, **options) for seed in SEEDS], activation)


def joined(ensembles: list[Ensemble], activation: str) -> Ensemble:
    """One ensemble of all their networks, with the gain and eps of the first."""
    first = ensembles[0]
    forward, feedback = (torch.cat([getattr(one, name) for one in ensembles]) for name in ("forward", "feedback"))
    return Ensemble(forward, feedback, activation, first.gain, first.eps)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def left_vectors(operator: Tensor) -> tuple[Tensor, Tensor]:
    """Rightmost eigenvalue of each matrix and its left eigenvector: (networks,) and (networks, n)."""
    values, vectors = torch.linalg.eig(operator.mT)
    place = (values.real + 1e-9 * values.imag).argmax(1)
    every = torch.arange(len(operator))
    return values[every, place], vectors[every, :, place]


@cache
def turning_networks(gain: float = 1.0, eps: float = 0.0) -> Ensemble:
    """Sixteen networks, from sixteen seeds, whose rightmost eigenvalue is complex and whose state survives."""
    found = []
    for seed in SEEDS:
        drawn = networks(32, "quadratic", 0.5 * math.pi, seed, gain=gain, eps=eps)
        theory = predict(drawn)
        which = int((theory.oscillates & (theory.turning > 0.2 * theory.growth)).nonzero()[0])
        found.append(drawn.select([which]))
    return joined(found, "quadratic")


@cache
def right_angle(activation: str) -> tuple[Ensemble, Tensor, Tensor]:
    """Twenty networks of each of sixteen seeds, what became of them, and their last states."""
    # Not seeds 0 to 15, which had been looked at when the classifier's thresholds were set.
    drawn = [networks(20, "quadratic", 0.5 * math.pi, 100 + seed) for seed in SEEDS]
    ensemble = joined(drawn, activation)
    motion = late_motion(ensemble, ensemble.random_state(300), 1500.0, 1500)
    return ensemble, classify(motion), motion.states


@cache
def rising_shares(seed: int) -> Tensor:
    """The share of time for which E_k rises, feedback W + R: early (t < 1) and late (8 < t < 10), (2, ks)."""
    loose = networks(8, "gelu", 0.5 * math.pi, seed)
    ensemble = Ensemble(loose.forward, loose.forward + loose.feedback, "gelu")
    times, states = time_flow(ensemble, ensemble.random_state(400 + seed), 10.0, 400)
    shares = [[float(torch.stack([(ensemble.energy_rate(x, k) > 0) for x in part]).double().mean()) for k in KS] for part in (states[:40:4], states[320::8])]
    return torch.tensor(shares, dtype=torch.float64)


def convergence_errors() -> list[float]:
    """Relative errors of the rate at which the direction nears its eigenvector, for sixteen networks with a real spectrum."""
    found = []
    for seed in SEEDS:
        drawn = networks(16, "quadratic", 0.3, seed)
        values = torch.linalg.eigvals(centred_operator(drawn))
        suitable = (values.imag.abs().amax(1) < 1e-12) & (predict(drawn).rate > 0.1)
        found.append(drawn.select([int(suitable.nonzero()[0])]))
    ensemble = joined(found, "quadratic")
    basis, operator = centred_basis(ensemble.visible, ensemble.forward), centred_operator(ensemble)
    values, right = torch.linalg.eig(operator)
    target = torch.nn.functional.normalize(right[torch.arange(16), :, values.real.argmax(1)].real)
    settled = late_motion(ensemble, ensemble.random_state(100), 150.0, 300).states
    times, states = time_flow(ensemble, settled + 1e-3 * ensemble.random_state(200), 60.0, 1500)
    direction = torch.nn.functional.normalize(states @ basis, dim=2)
    distance = (direction - direction.mul(target).sum(2, keepdim=True) * target).norm(dim=2)
    errors = []
    for i in range(16):  # the last decades before rounding, where the second mode is alone
        below = int((distance[:, i] < 1e-9).nonzero()[0]) if bool((distance[:, i] < 1e-9).any()) else len(times) - 1
        start = below * 2 // 3
        slope = float((distance[start, i] / distance[below, i]).log() / (times[below] - times[start]))
        errors.append(abs(slope / float(predict(ensemble).rate[i]) - 1))
    return errors


def small_cycles(count: int, seed: int) -> tuple[Tensor, Tensor, int]:
    """How sinks of drawn GELU networks end, (sinks,); beyond their Hopf points, errors of small cycles' frequencies; number of other outcomes.

    Networks without a sink at angle 0 are left out. Cycles are simulated at 0.005 and at 0.0025 beyond the crossing, and their
    frequencies extrapolated to it. A cycle that is wider than 0.5 (of a direction, whose length is one) did not grow from it.
    """
    loose = networks(count, "gelu", 0.5 * math.pi, seed)
    symmetric = loose.turned(torch.zeros(count, dtype=torch.float64))
    rest = late_motion(symmetric, symmetric.random_state(1), 1500.0, 1500)
    sinks = (classify(rest) == CONVERGED).nonzero()[:, 0]
    loose = loose.select(sinks)
    loss = loss_of_stability(loose, rest.states[sinks], 0.5 * math.pi)
    hopf = (loss.outcome == HOPF).nonzero()[:, 0]
    which, beyond = hopf.repeat(2), torch.tensor([0.005, 0.0025], dtype=torch.float64).repeat_interleave(len(hopf))
    ensemble = loose.select(which).turned(loss.angle[which] + beyond)
    x = loss.states[which]
    motion = late_motion(ensemble, x + 0.05 * x.std(1, keepdim=True) * ensemble.random_state(0), 6000.0, 6000)
    turning = (classify(motion) == OSCILLATING).view(2, -1).all(0)
    small = (turning & (motion.extent.view(2, -1)[1] < 0.5)).nonzero()[:, 0]
    chosen = torch.cat([small, small + len(hopf)])
    few = ensemble.select(chosen)
    times, states = clock_flow(few, motion.states[chosen], 1500.0, 3000)
    found = cycle_frequency(times, few.norm.activation(states.flatten(0, 1)).view_as(states)).view(2, -1)
    return loss.outcome, (2 * found[1] - found[0]) / loss.eigenvalue[hopf[small]].imag - 1, len(hopf) - len(small)
