"""The small cycles that are born at Hopf points (page: book/memory/asymmetry.md)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import number, size
from hopmix.memory.asymmetry.ensemble import Ensemble, check_ensemble
from hopmix.memory.asymmetry.fixed_points import HOPF, Loss, newton
from hopmix.memory.hierarchical.errors import NotConverged


_CLOSED = 1e-8  # relative to the amplitude


@dataclass(frozen=True)
class Cycles:
    """Periodic orbits near Hopf points, one for each, stable or not; each tensor (cycles,) but for the states.

    networks : their places in the ensemble.
    crossing, pair : the angle of the Hopf point, and w of the pair +-iw that crosses there.
    angle, frequency : of the cycle. It lies beyond the crossing where angle > crossing, and is then stable where the sink was.
    states : (cycles, visible), one state of each cycle.
    """

    networks: Tensor
    crossing: Tensor
    pair: Tensor
    angle: Tensor
    frequency: Tensor
    states: Tensor


def hopf_cycles(ensemble: Ensemble, loss: Loss, amplitude: float = 0.004, steps: int = 400, most: int = 12) -> Cycles:
    """Cycles of a given amplitude, by shooting: state, period and angle of the feedback are solved for at once.

    So cycles are found on either side of the crossing, also those that are unstable and that no simulation would show.

    Parameters
    ----------
    ensemble, loss : what ``loss_of_stability`` was given, and what it returned.
    amplitude : of the first harmonic along the pair's unit eigenvector, relative to the norm of the centred state.
    steps : of the Runge-Kutta scheme, in one turn.
    most : Newton iterations.

    Raises
    ------
    NotConverged : with the largest residual, relative to the amplitude.
    TypeError, ValueError : naming the argument, the value found and what is allowed; no Hopf point.
    """
    amplitude, steps, most = number("amplitude", amplitude, "positive"), size("steps", steps, least=8), size("most", most)
    check_ensemble(ensemble)
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be what loss_of_stability returns, got {type(loss).__name__}")
    if len(loss.outcome) != len(ensemble):
        raise ValueError(f"loss must be that of the {len(ensemble)} networks of the ensemble, got one of {len(loss.outcome)}")
    places = (loss.outcome == HOPF).nonzero()[:, 0]
    if len(places) == 0:
        raise ValueError("loss must have a Hopf point, got none")
    few = ensemble.select(places)
    crossing, rest = _crossings(few, loss.states[places], loss.angle[places])
    value, left, right = _pairs(few.turned(crossing).jacobian(rest))
    scale = amplitude * (rest - rest.mean(1, keepdim=True)).norm(dim=1)

    def miss(unknown: Tensor) -> Tensor:
        """How far a path is from closing, and its first harmonic from the amplitude, both relative to that: (copies, cycles, visible + 2)."""
        x, period, angle = unknown[..., :-2].flatten(0, 1), unknown[..., -2].flatten(), unknown[..., -1].flatten()
        repeated = few.select(torch.arange(len(few)).repeat(len(unknown))).turned(angle)
        wave, start = torch.zeros(unknown.shape[:2], dtype=left.dtype, device=x.device), x
        for step in range(steps):
            along = (x.view(*unknown.shape[:2], -1) * left).sum(-1)
            wave = wave + along * complex(math.cos(2 * math.pi * step / steps), -math.sin(2 * math.pi * step / steps)) / steps
            x = _step(repeated, x, (period / steps)[:, None])
        away = wave / scale - 1
        return torch.cat([(x - start).view(*unknown.shape[:2], -1) / scale[:, None], away.real[..., None], away.imag[..., None]], -1)

    unknown = torch.cat([rest + 2 * scale[:, None] * right.real, (2 * math.pi / value.imag)[:, None], crossing[:, None]], 1)
    found, slope, before = miss(unknown[None])[0], None, 0.0
    for _ in range(most):
        residual = float(found.abs().max())
        if residual <= _CLOSED or not math.isfinite(residual):
            break
        if residual > before / 10:  # the slopes are dear, and as good as new while the residual falls
            # Differences far below the amplitude, far above rounding.
            nudge = 1e-3 * torch.cat([scale[:, None].expand_as(rest), amplitude * unknown[:, -2:-1], amplitude * torch.ones_like(unknown[:, -1:])], 1)
            moved = miss(unknown + torch.diag_embed(nudge).transpose(0, 1))
            slope = ((moved - found) / nudge.T[..., None]).permute(1, 2, 0)
        unknown, before = unknown - torch.linalg.solve(slope, found), residual
        found = miss(unknown[None])[0]
    if not (residual := float(found.abs().max())) <= _CLOSED:
        raise NotConverged("shooting found no cycle of this amplitude at every Hopf point; try a smaller one", residual, most)
    return Cycles(places, crossing, value.imag, unknown[:, -1], 2 * math.pi / unknown[:, -2], unknown[:, :-2])


def _crossings(ensemble: Ensemble, states: Tensor, angles: Tensor, apart: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The angle at which the rightmost real part is zero, by the secant through two angles, and the fixed point there."""
    low, high = (newton(ensemble.turned(angles + side * apart), states).eigenvalues[:, 0].real for side in (-1, 1))
    crossing = angles - apart * (high + low) / (high - low)
    return crossing, newton(ensemble.turned(crossing), states).states


def _pairs(jacobian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rightmost eigenvalue, of positive imaginary part, its left and its right eigenvector, of product and right norm one."""
    values, vectors = torch.linalg.eig(jacobian)
    place = (values.real + 1e-9 * values.imag.sign()).argmax(1)
    every = torch.arange(len(jacobian))
    return values[every, place], torch.linalg.inv(vectors)[every, place], vectors[every, :, place]


def _step(ensemble: Ensemble, x: Tensor, h: Tensor) -> Tensor:
    def velocity(x: Tensor) -> Tensor:  # without the ensemble's checks: a path that diverges is for Newton's method to report
        return ensemble.drive(ensemble.norm.activation(x)) - x

    k1 = velocity(x)
    k2 = velocity(x + h / 2 * k1)
    k3 = velocity(x + h / 2 * k2)
    return x + h / 6 * (k1 + 2 * (k2 + k3) + velocity(x + h * k3))
