"""What the chapter's claims are measured on (page: book/memory/asymmetry.md)."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from hopmix.memory.asymmetry.clock import classify, late_motion
from hopmix.memory.asymmetry.ensemble import Ensemble, mixer_ensemble
from hopmix.memory.asymmetry.experiment import KS, time_flow
from hopmix.memory.asymmetry.fixed_points import Loss, loss_of_stability, newton
from hopmix.memory.asymmetry.spectrum import centred_basis, centred_operator, predict
from hopmix.memory.hierarchical.errors import NotConverged

SEEDS = tuple(range(16))
UNSEEN = tuple(range(300, 316))
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
def right_angle(activation: str, count: int = 20) -> tuple[Ensemble, Tensor, Tensor]:
    """The first ``count`` of twenty networks of each of sixteen seeds, what became of them, and their last states."""
    # Not seeds 0 to 15, which had been looked at when the classifier's thresholds were set.
    ensemble = joined([networks(20, "quadratic", 0.5 * math.pi, 100 + seed) for seed in SEEDS], activation)
    start, few = ensemble.random_state(300), torch.arange(len(ensemble)).view(16, 20)[:, :count].flatten()
    ensemble = ensemble.select(few)
    motion = late_motion(ensemble, start[few], 1500.0, 1500)
    return ensemble, classify(motion), motion.states


@cache
def rising_shares() -> Tensor:
    """The share of time for which E_k rises, feedback W + R, eight networks a seed: early (t < 1) and late (8 < t < 10), (seeds, 2, ks)."""
    drawn = [networks(8, "gelu", 0.5 * math.pi, seed) for seed in SEEDS]
    x = torch.cat([one.random_state(400 + seed) for one, seed in zip(drawn, SEEDS, strict=True)])
    loose = joined(drawn, "gelu")
    ensemble = Ensemble(loose.forward, loose.forward + loose.feedback, "gelu")
    _, states = time_flow(ensemble, x, 10.0, 400)

    def share(part: Tensor, k: float) -> Tensor:
        return torch.stack([ensemble.energy_rate(x, k) > 0 for x in part]).double().mean(0).view(len(SEEDS), -1).mean(1)

    return torch.stack([torch.stack([share(part, k) for k in KS], 1) for part in (states[:40:4], states[320::8])], 1)


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


@cache
def sinks_of_symmetric_networks() -> tuple[Ensemble, Loss]:
    """Sixteen GELU networks of each of sixteen seeds, and how their sinks end while the feedback turns to a right angle."""
    # Not seeds 0 to 15 and 101 to 109: the experiment and earlier forms of the claims have seen them.
    loose = joined([networks(16, "gelu", 0.5 * math.pi, seed) for seed in UNSEEN], "gelu")
    symmetric = loose.turned(torch.zeros(len(loose), dtype=torch.float64))
    states, left = symmetric.random_state(300), torch.arange(len(loose))
    for _ in range(20):  # few are slow
        states[left] = late_motion(symmetric.select(left), states[left], 300.0, 300).states
        rest = newton(symmetric.select(left), states[left], strict=False)
        near = (rest.residual <= 1e-10) & rest.stable
        states[left[near]], left = rest.states[near], left[~near]
        if len(left) == 0:
            break
    else:
        raise NotConverged(f"{len(left)} symmetric networks are not near a sink", float(rest.residual.max()), 6000)
    return loose, loss_of_stability(loose, states, 0.5 * math.pi)
