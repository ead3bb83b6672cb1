"""The flow in LayerNorm's own clock, and its late motion (page: book/memory/asymmetry.md)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import check_finite, number, size
from hopmix.memory.asymmetry.ensemble import Ensemble, check_ensemble

OUTCOMES = ("converged", "oscillating", "collapsed", "undecided")
CONVERGED, OSCILLATING, COLLAPSED, UNDECIDED = range(len(OUTCOMES))


def clock_flow(ensemble: Ensemble, x: Tensor, duration: float, steps: int) -> tuple[Tensor, Tensor]:
    """The flow by fixed Runge-Kutta steps of LayerNorm's own clock s, ds = gain dt / rho.

    In this clock the activations move at a speed that the weights set, however short the state is; in t a
    short state makes them fast. Each network's clock is read in units of its own 1 / ``ensemble.pace``, in which steps up to one are stable; while
    a state is longer than gain * pace, as no settled one is, steps are shorter by that factor.

    Parameters
    ----------
    x : (networks, visible).
    duration : of the clock, in its unit.
    steps : at least the duration.

    Returns
    -------
    times : (steps + 1, networks), the time t at each tick.
    states : (steps + 1, networks, visible).

    Raises
    ------
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    FloatingPointError : the states left the finite numbers; more steps may help.
    """
    duration, steps = _ticks(ensemble, x, duration, steps, 1)
    time = torch.zeros(len(ensemble), 1, dtype=x.dtype, device=x.device)
    visited = [(time, x)]
    for _ in range(steps):
        visited.append(_tick(ensemble, *visited[-1], duration / steps / ensemble.pace))
    times, states = (torch.stack(parts) for parts in zip(*visited, strict=True))
    if not bool(states.isfinite().all()):
        raise FloatingPointError("the states are no longer finite; use more steps")
    return times[..., 0], states


@dataclass(frozen=True)
class LateMotion:
    """How the activations moved at the end of a run, each tensor (networks,); directions are g / |g|.

    earlier, later : the highest speed of the direction in the last eighth but one, and in the last (radians per unit of the clock, see ``clock_flow``).
    length, shrinking : the largest standard deviation of the state in the last eighth, relative to gain * pace, which bounds a
        settled one; and relative to that in the eighth before.
    path, extent : over the last quarter, the length of the direction's path, and its largest distance from where the quarter began.
    states : (networks, visible), the last ones.
    """

    earlier: Tensor
    later: Tensor
    length: Tensor
    shrinking: Tensor
    path: Tensor
    extent: Tensor
    states: Tensor


def late_motion(ensemble: Ensemble, x: Tensor, duration: float, steps: int) -> LateMotion:
    """Run the flow for ``duration`` of the clock and watch the last quarter of it. Arguments and errors as in ``clock_flow``.

    Only what ``classify`` needs is kept, so thousands of networks fit. steps : at least 8, and at least the duration.
    """
    duration, steps = _ticks(ensemble, x, duration, steps, 8)
    eighth, step = steps // 8, duration / steps / ensemble.pace
    time = torch.zeros(len(ensemble), 1, dtype=x.dtype, device=x.device)
    for _ in range(steps - 2 * eighth):
        time, x = _tick(ensemble, time, x, step)
    start = before = torch.nn.functional.normalize(ensemble.norm.activation(x))
    path = extent = torch.zeros(len(ensemble), dtype=x.dtype, device=x.device)
    speeds, lengths = [], []
    for _ in range(2):
        highest, length = torch.zeros_like(path), torch.zeros_like(path)
        for _ in range(eighth):
            time, x = _tick(ensemble, time, x, step)
            highest = torch.maximum(highest, _direction_speed(ensemble, x))
            length = torch.maximum(length, x.std(1, correction=0))
            direction = torch.nn.functional.normalize(ensemble.norm.activation(x))
            path = path + (direction - before).norm(dim=1)
            extent = torch.maximum(extent, (direction - start).norm(dim=1))
            before = direction
        speeds.append(highest)
        lengths.append(length)
    if not bool(x.isfinite().all()):
        raise FloatingPointError("the states are no longer finite; use more steps")
    length = lengths[1] / (ensemble.gain * ensemble.pace[:, 0])
    return LateMotion(*speeds, length, lengths[1] / lengths[0], path, extent, x)


def classify(motion: LateMotion, rest: float = 1e-6, steady: float = 0.95) -> Tensor:
    """What the late motion shows, as places in ``OUTCOMES``: (networks,).

    - *collapsed*: the length has fallen to ``rest`` or below; the direction may turn or not, but the state vanishes.
    - *converged*: in the last eighth of the run no speed exceeds ``rest``, and the length has not fallen, shrinking >= steady.
    - *oscillating*: neither speed nor length has fallen, later >= steady * earlier, shrinking >= steady, and the direction came back: its path over the last
      quarter is at least twice its extent, as that of a closed loop is.
    - *undecided*: anything else, such as a slow approach, or a turn that takes longer than the quarter.

    rest : radians per unit of the clock, and a relative length. A state that comes back is not enough: a spiral into a fixed point does so too, with
    falling speed; nor is a steady speed, which a slow approach to a distant fixed point has.

    Raises ValueError or TypeError unless rest > 0 and 0 < steady <= 1.
    """
    if not isinstance(motion, LateMotion):
        raise TypeError(f"motion must be what late_motion returns, got {type(motion).__name__}")
    rest, steady = number("rest", rest, "positive"), number("steady", steady, "positive")
    if steady > 1:
        raise ValueError(f"steady must be at most 1, got {steady!r}")
    lasting = motion.shrinking >= steady
    converged = lasting & (motion.later <= rest)
    oscillating = lasting & (motion.later > rest) & (motion.later >= steady * motion.earlier) & (motion.path >= 2 * motion.extent)
    outcome = torch.full_like(motion.later, UNDECIDED, dtype=torch.long)
    outcome = outcome.masked_fill(oscillating, OSCILLATING).masked_fill(converged, CONVERGED)
    return outcome.masked_fill(motion.length <= rest, COLLAPSED)


def direction_speed(ensemble: Ensemble, x: Tensor) -> Tensor:
    """|d(g/|g|)/ds|, radians per unit of the clock, at x (networks, visible): (networks,)."""
    check_ensemble(ensemble)
    ensemble.check_state(x)
    return _direction_speed(ensemble, x)


def _direction_speed(ensemble: Ensemble, x: Tensor) -> Tensor:
    _, pull = ensemble.clock_velocity(x)
    g = ensemble.norm.activation(x)
    turning = ensemble.norm.hessian_product(x, pull)
    g_norm = g.norm(dim=1, keepdim=True)
    turning = turning - g * ((g * turning).sum(1, keepdim=True) / g_norm.square())
    return turning.norm(dim=1) / (g_norm * ensemble.pace)[:, 0]


def cycle_frequency(times: Tensor, activations: Tensor) -> Tensor:
    """The angular frequency of cycles, radians per unit of ``times``, from the activations alone: (networks,).

    The phase is that of the two leading principal directions of each path, so the path must go round its mean once per cycle.
    For one that does not, this is not its frequency.

    Parameters
    ----------
    times : (points, networks).
    activations : (points, networks, visible), many points per cycle; whole cycles are counted.

    Raises ValueError for other shapes, and for a path without a full turn.
    """
    for name, x in (("times", times), ("activations", activations)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
        check_finite(name, x)
    if times.dim() != 2 or activations.dim() != 3 or activations.shape[:2] != times.shape or len(times) < 3:
        raise ValueError(f"times, activations must be (points, networks[, visible]) with 3 points or more, got {tuple(times.shape)}, {tuple(activations.shape)}")
    paths = (activations - activations.mean(0)).transpose(0, 1)
    u, _, _ = torch.linalg.svd(paths, full_matrices=False)
    plane = u[..., :2] / u[..., :2].square().mean(1, keepdim=True).sqrt()
    z = torch.complex(plane[..., 0], plane[..., 1])
    phase = (z[:, 1:] * z[:, :-1].conj()).angle().cumsum(1)
    phase = torch.nn.functional.pad(phase * phase[:, -1:].sign(), (1, 0)).contiguous()  # (networks, points), from 0 upwards
    turns = (phase[:, -1] / (2 * math.pi)).floor()
    if not bool((turns >= 1).all()):
        raise ValueError(f"times must hold a full turn of every network, {int((turns < 1).sum())} of {len(turns)} have none")
    # Over whole turns it does not matter how uneven the phase is within one.
    goal = 2 * math.pi * turns[:, None]
    after = torch.searchsorted(phase, goal).clamp(1, phase.shape[1] - 1)
    low, high = phase.gather(1, after - 1), phase.gather(1, after)
    early, late = times.T.gather(1, after - 1), times.T.gather(1, after)
    end = early + (late - early) * (goal - low) / (high - low)
    return goal[:, 0] / (end[:, 0] - times[0])


def _ticks(ensemble: Ensemble, x: Tensor, duration: float, steps: int, least: int) -> tuple[float, int]:
    """The two numbers, where they make a stable scheme for states of this ensemble."""
    check_ensemble(ensemble)
    duration, steps = number("duration", duration, "positive"), size("steps", steps, least=least)
    if duration > steps:
        raise ValueError(f"steps must be at least the duration, {duration:g}, for steps of the clock up to one, got {steps}")
    ensemble.activation(x)  # refuses what is no state
    return duration, steps


def _tick(ensemble: Ensemble, time: Tensor, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """One Runge-Kutta step of dx/ds = rho (F - x) / gain and dt/ds = rho / gain."""
    t1, x1 = ensemble.clock_velocity(x)
    # A state longer than any settled one leaks faster than the activations move: then the leak sets the step.
    step = step / (t1 / ensemble.pace).clamp(min=1.0)
    t2, x2 = ensemble.clock_velocity(x + step / 2 * x1)
    t3, x3 = ensemble.clock_velocity(x + step / 2 * x2)
    t4, x4 = ensemble.clock_velocity(x + step * x3)
    # At eps = 0 a collapsing state would shrink until its numbers underflow: it stays where it is long past noticing.
    alive = (t1 > 1e-30 * ensemble.pace).to(x.dtype)
    return time + alive * step / 6 * (t1 + 2 * (t2 + t3) + t4), x + alive * step / 6 * (x1 + 2 * (x2 + x3) + x4)
