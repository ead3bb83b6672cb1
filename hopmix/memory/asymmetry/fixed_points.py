"""Fixed points of asymmetric networks, their stability and where they lose it (page: book/memory/asymmetry.md)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import number, size
from hopmix.memory.asymmetry.ensemble import Ensemble, check_ensemble
from hopmix.memory.hierarchical.errors import NotConverged


@dataclass(frozen=True)
class FixedPoints:
    """States of rest and their linearisations.

    states : (networks, visible) with F(g) = x.
    eigenvalues : (networks, visible), of the Jacobian of the velocity, rightmost first.
    residual : (networks,), |F(g) - x| relative to |x|.
    """

    states: Tensor
    eigenvalues: Tensor
    residual: Tensor

    @property
    def stable(self) -> Tensor:
        return self.eigenvalues.real[:, 0] < 0


def newton(ensemble: Ensemble, x: Tensor, tolerance: float = 1e-12, most: int = 30, strict: bool = True) -> FixedPoints:
    """Newton's method for F(g(x)) = x from x (networks, visible), all networks at once.

    strict : raise where a network does not converge; else its residual tells.

    Raises
    ------
    NotConverged : with the largest residual, after ``most`` iterations.
    TypeError, ValueError : naming the argument, the value found and what is allowed.
    """
    check_ensemble(ensemble)
    ensemble.check_state(x)
    tolerance, most = number("tolerance", tolerance, "positive"), size("most", most)
    for _ in range(most):
        velocity = ensemble.velocity(x)
        if bool((velocity.norm(dim=1) <= tolerance * x.norm(dim=1)).all()):
            break
        moved = x - torch.linalg.solve_ex(ensemble.jacobian(x), velocity)[0]
        x = torch.where(moved.isfinite().all(1, keepdim=True), moved, x)  # where the Jacobian is singular the residual tells
    residual = ensemble.velocity(x).norm(dim=1) / x.norm(dim=1)
    if strict and not bool((residual <= tolerance).all()):
        raise NotConverged("Newton's method found no fixed point for every network", float(residual.max()), most)
    eigenvalues = torch.linalg.eigvals(ensemble.jacobian(x))
    order = torch.argsort(eigenvalues.real, dim=1, descending=True, stable=True)
    return FixedPoints(x, eigenvalues.gather(1, order), residual)


LOSSES = ("kept", "fold", "hopf", "lost")
KEPT, FOLD, HOPF, LOST = range(len(LOSSES))


@dataclass(frozen=True)
class Loss:
    """Where sinks lose their stability while the feedback turns, each tensor (networks,).

    outcome : places in ``LOSSES``. *fold*: a real eigenvalue reaches zero and the sink vanishes; *hopf*: a complex pair crosses
        and the sink becomes unstable; *kept*: neither up to the largest angle; *lost*: Newton's method left the branch before either.
    angle : the last angle with the sink.
    states : (networks, visible), the sink there.
    eigenvalue : its rightmost eigenvalue, complex.
    """

    outcome: Tensor
    angle: Tensor
    states: Tensor
    eigenvalue: Tensor


def loss_of_stability(
    ensemble: Ensemble, states: Tensor, largest: float, step: float = 0.03, finest: float = 1e-9, jump: float = 0.1, critical: float = 1e-2
) -> Loss:
    """Follow sinks of the symmetric networks while the feedback turns by ``Ensemble.turned``, from 0 to ``largest``.

    Parameters
    ----------
    ensemble : forward synapses W, and as feedback what they turn into.
    states : (networks, visible), near sinks at angle 0.
    step, finest : of the angle, at first and at last. A step is taken if Newton's method finds a sink there that has moved by
        at most ``jump`` of its length, and halved otherwise.
    critical : how close to zero an eigenvalue must come to count as having reached it.

    Raises
    ------
    NotConverged : at angle 0.
    ValueError, TypeError : a state that is no sink at angle 0; arguments that are not positive.
    """
    check_ensemble(ensemble)
    ensemble.check_state(states, "states")
    jump, critical = number("jump", jump, "positive"), number("critical", critical, "positive")
    largest, step, finest = number("largest", largest, "positive"), number("step", step, "positive"), number("finest", finest, "positive")
    angles = torch.zeros(len(ensemble), dtype=states.dtype, device=states.device)
    sinks = newton(ensemble.turned(angles), states)
    if not bool(sinks.stable.all()):
        raise ValueError(f"states must be near sinks at angle 0, {int((~sinks.stable).sum())} are not")
    states, leading = sinks.states.clone(), sinks.eigenvalues[:, 0].clone()
    steps, crossed = torch.full_like(angles, step), torch.zeros(len(ensemble), dtype=torch.bool, device=states.device)
    while len(going := ((steps > finest) & (angles < largest)).nonzero()[:, 0]):
        tried = (angles[going] + steps[going]).clamp(max=largest)
        found = newton(ensemble.select(going).turned(tried), states[going], most=8, strict=False)
        near = (found.residual <= 1e-10) & ((found.states - states[going]).norm(dim=1) <= jump * states[going].norm(dim=1))
        taken = near & found.stable
        crossed[going] = near & ~found.stable
        steps[going] = torch.where(taken, (1.5 * steps[going]).clamp(max=step), steps[going] / 2)
        moved = going[taken]
        angles[moved], states[moved], leading[moved] = tried[taken], found.states[taken], found.eigenvalues[taken, 0]
    outcome = torch.full_like(angles, LOST, dtype=torch.long)
    outcome[leading.abs() <= critical] = FOLD
    outcome[crossed & (leading.real.abs() <= critical) & (leading.imag.abs() > critical)] = HOPF
    outcome[angles >= largest] = KEPT
    return Loss(outcome, angles, states, leading)
