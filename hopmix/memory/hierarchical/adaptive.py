"""The flow by scipy's adaptive solvers, which choose their own steps (page: book/memory/hierarchical.md)."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from hopmix.arguments import choice, number
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.memory.hierarchical.memory import HierarchicalMemory, check_memory
from hopmix.memory.hierarchical.state import State, pack

METHODS = ("RK23", "RK45", "DOP853", "Radau", "BDF")
_IMPLICIT = ("Radau", "BDF")


def solve(
    memory: HierarchicalMemory,
    state: State,
    times: Sequence[float] | Tensor,
    method: str = "RK45",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    leak: bool = True,
) -> State:
    """The flow dx/dt = velocity from ``state`` at times[0], at all ``times``: (len(times), batch, *shape).

    The samples of a batch are one system with common steps, whose error is the root mean square over all of them. scipy works in
    float64 on the CPU; the result has the state's dtype and device, and no gradient.

    Parameters
    ----------
    times : two or more, increasing.
    method : "RK45", "RK23", "DOP853" are explicit: their steps cannot be longer than about the smallest time constant. "Radau" and
        "BDF" are implicit and take long steps through stiff flows, at the price of Jacobians by differences.
    rtol, atol : the error allowed in each step, relative to an entry and absolute; see ``scipy.integrate.solve_ivp``.

    Raises
    ------
    TypeError, ValueError : no HierarchicalMemory, a state that it refuses, times that do not increase, an unknown method, tolerances that are not positive.
    NotConverged : the solver gave up, as it does where the flow leaves the finite numbers. ``residual`` is the time that was left,
        ``iterations`` the number of velocities evaluated.
    """
    from scipy.integrate import solve_ivp  # slow to import, and memories do without
    from scipy.sparse import block_diag

    check_memory(memory)
    times = _times(times)
    method = choice("method", method, METHODS)
    rtol, atol = number("rtol", rtol, "positive"), number("atol", atol, "positive")
    start = memory._unpack(state)
    first = next(iter(start.values()))
    shapes = {name: tuple(x.shape[1:]) for name, x in start.items()}
    batch = len(first)
    if batch == 0:
        return pack({name: x.new_empty(len(times), *x.shape) for name, x in start.items()}, state)

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        """(entries,) to (entries,), or (entries, k) to (entries, k): the k columns go through the memory as one batch."""
        columns = flat.reshape(flat.shape[0], -1).T
        if not np.isfinite(columns).all():
            return np.full_like(flat, np.nan)  # rejected by the solver, which tries a shorter step
        values = _unflatten(torch.from_numpy(np.ascontiguousarray(columns)).to(first), shapes, batch)
        moved = memory.velocity(values, leak)
        return _flatten(moved, batch).reshape(len(columns), -1).T.reshape(flat.shape)

    options = {}
    if method in _IMPLICIT:
        entries = sum(x[0].numel() for x in start.values())
        options = {"vectorized": True, "jac_sparsity": block_diag([np.ones((entries, entries))] * batch)}
    with torch.no_grad(), np.errstate(all="ignore"):
        flat = _flatten(start, batch).reshape(-1)
        found = solve_ivp(velocity, (times[0], times[-1]), flat, method, times, rtol=rtol, atol=atol, **options)
    if not found.success or not np.isfinite(found.y).all():
        reached = found.t[-1] if len(found.t) else times[0]
        raise NotConverged(f"{method} stopped between t = {reached:g} and {times[-1]:g}, {found.message}", times[-1] - reached, found.nfev)
    columns = torch.from_numpy(np.ascontiguousarray(found.y.T)).to(first)
    values = _unflatten(columns, shapes, batch)
    return pack({name: x.reshape(len(times), batch, *shapes[name]) for name, x in values.items()}, state)


def _times(times: object) -> np.ndarray:
    if not isinstance(times, Iterable) or isinstance(times, str) or getattr(times, "ndim", 1) != 1:
        raise TypeError(f"times must be a sequence of real numbers, got {times!r}")
    plain = np.array([number("each of times", t) for t in times])
    if len(plain) < 2 or not (np.diff(plain) > 0).all():
        raise ValueError(f"times must be two or more that increase, got {plain.tolist()}")
    return plain


def _flatten(values: dict[str, Tensor], batch: int) -> np.ndarray:
    """(columns * batch, *shape) by layer as (columns * batch, entries), in float64."""
    return torch.cat([x.flatten(1) for x in values.values()], dim=1).double().cpu().numpy()


def _unflatten(columns: Tensor, shapes: dict[str, tuple[int, ...]], batch: int) -> dict[str, Tensor]:
    """(columns, batch * entries) as (columns * batch, *shape) by layer."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = columns.reshape(len(columns) * batch, -1).split(sizes, dim=1)
    return {name: part.reshape(-1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
