"""Property assertions for memories, Lagrangians and theories; they raise AssertionError with the numbers.

>>> import torch
>>> from hopmix.memory import three_layer_memory
>>> memory = three_layer_memory(tokens=4, channels=6, token_hidden=8, channel_hidden=12)
>>> assert_descends(memory, memory.random_state(batch=5), time=2.0, steps=100)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from hopmix.memory import HierarchicalMemory, Lagrangian
    from hopmix.memory.hierarchical import State


def assert_descends(
    memory: "HierarchicalMemory", state: "State", time: float = 1.0, steps: int = 100, tolerance: float | None = None
) -> None:
    """The memory's energy never rises along its flow from ``state``, at any of the ``steps`` points.

    tolerance : the rise allowed between two points, relative to the largest |E| of that sample;
        None is 64 rounding units of the state's dtype.
    """
    with torch.no_grad():
        times, states = memory.flow(state, time, steps)
        bare = isinstance(states, Tensor)
        merged = states.flatten(0, 1) if bare else {name: x.flatten(0, 1) for name, x in states.items()}
        energies = memory.energy(merged).reshape(len(times), -1)  # (steps + 1, batch)
    allowed = _relative(tolerance, energies.dtype) * energies.abs().amax(0)
    rises = energies.diff(dim=0) - allowed
    _finite("energy", energies)
    if bool((rises > 0).any()):
        step, sample = divmod(int(rises.argmax()), energies.shape[1])
        before, after = float(energies[step, sample]), float(energies[step + 1, sample])
        raise AssertionError(
            f"the energy of sample {sample} rises from {before!r} to {after!r} between t = {float(times[step]):g} "
            f"and {float(times[step + 1]):g}; it rises in {int((rises > 0).sum())} of {rises.numel()} places"
        )


def assert_gradient(lagrangian: "Lagrangian", x: Tensor, tolerance: float | None = None) -> None:
    """The activation is the gradient of the value at x (batch, *shape), as autograd differentiates it.

    tolerance : relative to the largest entry, None is 64 rounding units.
    """
    x = x.detach().clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(lagrangian.value(x).sum(), x)
    _assert_close("activation and gradient of the value", lagrangian.activation(x), expected, tolerance)


def assert_hessian(lagrangian: "Lagrangian", x: Tensor, v: Tensor, tolerance: float | None = None) -> None:
    """hessian_product(x, v) is the activation's derivative at x along v, as autograd differentiates it.

    tolerance : relative to the largest entry, None is 64 rounding units.
    """
    x = x.detach().clone().requires_grad_(True)
    activation = lagrangian.activation(x)
    # Forward mode from two reverse passes, because not every kernel has a forward formula.
    weights = torch.zeros_like(activation, requires_grad=True)
    (pulled,) = torch.autograd.grad(activation, x, weights, create_graph=True)
    (expected,) = torch.autograd.grad(pulled, weights, v)
    found = lagrangian.hessian_product(x, v)
    _assert_close("hessian_product and derivative of the activation", found, expected, tolerance)


def assert_symmetric_jacobian(function: Callable[[Tensor], Tensor], x: Tensor, tolerance: float | None = None) -> None:
    """The function's Jacobian at x is symmetric, so near x the function is the gradient of a scalar.

    The function maps a tensor of x's shape to another of that shape; a batch counts as part of the vector.
    tolerance : on |J - J^T| / |J| (Frobenius), None is 64 rounding units.
    """
    jacobian = torch.autograd.functional.jacobian(function, x.detach())
    if jacobian.shape != (*x.shape, *x.shape):
        image = tuple(jacobian.shape[: -x.dim()])
        raise AssertionError(f"the function maps shape {tuple(x.shape)} to {image}: its Jacobian is not square")
    jacobian = jacobian.reshape(x.numel(), x.numel())
    _finite("Jacobian", jacobian)
    asymmetry = float((jacobian - jacobian.mT).norm())
    size = float(jacobian.norm())
    allowed = _relative(tolerance, x.dtype) * size
    if asymmetry > allowed:
        raise AssertionError(
            f"the Jacobian is not symmetric: |J - J^T| = {asymmetry:.3g} exceeds {allowed:.3g} (|J| = {size:.3g})"
        )


def assert_matches_simulation(theory: object, samples: object, standard_errors: float = 4.0) -> None:
    """The mean of independent ``samples`` is within so many standard errors of ``theory``, entry by entry.

    samples : (n, *shape) with n >= 2; the standard error is estimated from them. An entry that does not
        vary at all must equal the theory up to rounding.
    theory : (*shape), or one number for all entries.
    """
    theory, samples = np.asarray(theory, dtype=float), np.asarray(samples, dtype=float)
    if samples.ndim < 1 or len(samples) < 2:
        raise AssertionError(f"at least two samples are needed for a standard error, got shape {samples.shape}")
    if theory.shape not in ((), samples.shape[1:]):
        raise AssertionError(f"theory of shape {theory.shape} does not fit samples of shape {samples.shape}")
    mean, error = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))
    if not (np.isfinite(theory).all() and np.isfinite(mean).all()):
        raise AssertionError("theory or samples are not finite")
    rounding = 64 * np.finfo(float).eps * np.maximum(np.abs(theory), np.abs(mean))
    excess = np.abs(mean - theory) - (standard_errors * error + rounding)
    if (excess > 0).any():
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        expected = np.broadcast_to(theory, mean.shape)[worst]
        raise AssertionError(
            f"theory {expected:.6g} against simulation {mean[worst]:.6g} +- {error[worst]:.2g} "
            f"(one standard error, {len(samples)} samples): outside {standard_errors:g} standard errors at "
            f"{int((excess > 0).sum())} of {excess.size} entries, worst at {tuple(map(int, worst))}"
        )


def _assert_close(what: str, found: Tensor, expected: Tensor, tolerance: float | None) -> None:
    found, expected = found.detach(), expected.detach()
    _finite(what, found)
    _finite(what, expected)
    difference = float((found - expected).abs().amax())
    allowed = _relative(tolerance, found.dtype) * max(float(expected.abs().amax()), 1.0)
    if difference > allowed:
        raise AssertionError(f"{what} differ by up to {difference:.3g}, more than {allowed:.3g}")


def _finite(what: str, values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise AssertionError(f"{what}: not finite")


def _relative(tolerance: float | None, dtype: torch.dtype) -> float:
    return 64 * torch.finfo(dtype).eps if tolerance is None else tolerance
