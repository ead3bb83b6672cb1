"""Where the flow of a memory comes to rest (page: book/memory/hierarchical.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hopmix.arguments import check_finite, number, size
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.memory.hierarchical.memory import HierarchicalMemory, check_memory
from hopmix.memory.hierarchical.state import State, pack

Values = dict[str, Tensor]
# Earlier steps are combined only so near to rest, where the dynamics is almost linear. With 1e-2 instead, some flows that pass a saddle stop there.
_NEAR = 1e-4


class Pull:
    """What moves the free layers of a memory: tau dx/dt = F(g) + drive - x, in units of the shortest time constant.

    clamp : values of layers that are held; drive : constant inputs from outside. Both (batch, *shape) by layer name.
    """

    def __init__(self, memory: HierarchicalMemory, clamp: Mapping[str, Tensor] | None = None, drive: Mapping[str, Tensor] | None = None):
        check_memory(memory)
        taus = {layer.name: layer.time_constant for layer in memory.dynamic_layers}
        self.clamp, self.drive = _by_layer("clamp", clamp, taus), _by_layer("drive", drive, taus)
        self.free = tuple(name for name in taus if name not in self.clamp)
        if not self.free:
            raise ValueError(f"clamp holds all layers, {', '.join(taus)}, so nothing is left to move")
        if held := [name for name in self.drive if name in self.clamp]:
            raise ValueError(f"drive has the layers {', '.join(held)}, which clamp holds: their input changes nothing")
        shortest = min(taus[name] for name in self.free)
        self._memory, self._rates, self._shortest = memory, {name: shortest / taus[name] for name in self.free}, shortest

    def begin(self, state: State) -> Values:
        """The free layers of a state that the memory accepts."""
        if isinstance(state, Tensor) and len(self.free) == 1 and not self.clamp:
            state = {self.free[0]: state}
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a dict with the layers {', '.join((*self.free, *self.clamp))}, got {type(state).__name__}")
        for name, given in self.drive.items():
            found = state.get(name)
            if not isinstance(found, Tensor):
                continue  # the memory refuses it below
            if (given.dtype, given.device) != (found.dtype, found.device):
                raise TypeError(f"drive of layer {name!r} must have its state's dtype and device, {found.dtype} on {found.device}, got {given.dtype} on {given.device}")
            if given.shape != found.shape:
                raise ValueError(f"drive of layer {name!r} must have its shape {tuple(found.shape)}, got {tuple(given.shape)}")
        self._memory.check_state({**state, **self.clamp})
        return {name: state[name] for name in self.free}

    def __call__(self, values: Values, leak: bool = True) -> Values:
        """The velocity of the free layers, (batch, *shape) each."""
        velocity = self._memory.velocity({**values, **self.clamp}, leak)
        pulled = {name: velocity[name] * self._shortest for name in self.free}
        for name, given in self.drive.items():
            pulled[name] = pulled[name] + self._rates[name] * given
        return pulled

    def finish(self, values: Values, like: State) -> State:
        """Free and held layers in the structure of the state that was given, the held ones as they were given."""
        if isinstance(like, Tensor):
            return pack(values, like)
        return {name: {**values, **self.clamp}[name] for name in like}


def fixed_point(
    memory: HierarchicalMemory,
    state: State,
    tolerance: float | None = None,
    max_steps: int = 5000,
    step_size: float = 0.5,
    acceleration: int = 8,
    clamp: Mapping[str, Tensor] | None = None,
    drive: Mapping[str, Tensor] | None = None,
) -> State:
    """The rest x = F(g(x)) to which the leaky flow leads, for each sample by itself; no gradient is recorded.

    Euler steps follow the flow. Near rest, where it is almost linear, each step also combines the ``acceleration`` steps before
    it so that the residual becomes as small as it can (Anderson's method); a sample whose residual grows starts again without them.
    Anderson's method does not ask whether a rest is stable, so where a flow lingers at a saddle only 0 is safe.

    Parameters
    ----------
    state : where the flow begins, (batch, *shape) or a dict of them; it chooses the rest only through its basin.
    tolerance : on the root mean square over the neurons of F(g) - x, relative to that of x where that exceeds one; None is
        eps^(2/3), about 4e-11 in float64 and 2e-5 in float32.
    step_size : in units of the shortest time constant; at 1 an Euler step goes to F(g) in one go.
    acceleration : 0 takes Euler steps alone.
    clamp : layers held at these values; drive : constant inputs added to F. Both by the name of a dynamic layer.

    Raises
    ------
    NotConverged : with the largest residual and the steps made; also where the states leave the finite numbers.
    TypeError, ValueError : naming the argument, and as the memory does for its states.
    """
    options = settings(tolerance, max_steps, step_size, acceleration)
    with torch.no_grad():
        pull = Pull(memory, clamp, drive)
        rest, _ = rest_of(pull, pull.begin(state), options)
        return pull.finish(rest, state)


def rest_of(pull: Pull, values: Values, options: dict) -> tuple[Values, int]:
    """The rest of the flow ``pull`` and the steps it took; ``options`` from ``settings``."""
    shapes = {name: x.shape for name, x in values.items()}
    start = flat(values)
    options = {**options, "tolerance": tolerance_for(options["tolerance"], start)}

    def scale(x: Tensor) -> Tensor:
        return x.norm(dim=1).clamp_min(x.shape[1] ** 0.5)

    rest, steps = settle(lambda x: flat(pull(unflat(x, shapes))), start, scale, near=_NEAR, what="the flow did not come to rest", **options)
    return unflat(rest, shapes), steps


def settings(tolerance: float | None, max_steps: int, step_size: float, acceleration: int) -> dict:
    """The checked options of ``settle``. Raises TypeError and ValueError."""
    step_size = number("step_size", step_size, "positive")
    if tolerance is not None:
        tolerance = number("tolerance", tolerance, "positive")
    return {
        "tolerance": tolerance,
        "max_steps": size("max_steps", max_steps),
        "step_size": step_size,
        "acceleration": size("acceleration", acceleration, least=0),
    }


def settle(
    residual: Callable[[Tensor], Tensor],
    x: Tensor,
    scale: Callable[[Tensor], Tensor],
    *,
    tolerance: float,
    max_steps: int,
    step_size: float,
    acceleration: int,
    near: float,
    what: str,
) -> tuple[Tensor, int]:
    """A zero of ``residual``, (batch, n) to (batch, n), by damped iteration with Anderson's acceleration, and the steps made.

    A sample is done where its residual's norm is at most tolerance * scale(x), scale giving (batch,), and then moves no more: what happens to one sample does not depend on the others. Acceleration begins at near * scale(x). Raises NotConverged.
    """
    moves = x.new_zeros(acceleration, *x.shape)  # the last changes of x and of the residual, oldest overwritten
    changes = x.new_zeros(acceleration, *x.shape)
    r = residual(x)
    length = r.norm(dim=1)
    for step in range(max_steps + 1):
        _check_finite(length, what, step)
        allowed = scale(x)
        _check_finite(allowed, what, step)  # of a state that runs away the norm overflows first, and would allow any residual
        busy = length > tolerance * allowed
        if not bool(busy.any()):
            return x, step
        if step == max_steps:
            break
        move = step_size * r
        if acceleration and step:
            mixed = _combined(moves, changes, r, step_size)
            move = torch.where((length <= near * allowed)[:, None], move - mixed, move)
        move = torch.where(busy[:, None], move, 0.0)
        x = x + move
        _check_finite(x, what, step + 1)
        before, r = r, residual(x)
        before_length, length = length, r.norm(dim=1)
        if acceleration:
            moves[step % acceleration], changes[step % acceleration] = move, r - before
            kept = (length <= 2 * before_length)[:, None]
            moves, changes = moves * kept, changes * kept
    raise NotConverged(what, float((length / allowed).max()), max_steps)


def _check_finite(x: Tensor, what: str, step: int) -> None:
    if not bool(x.isfinite().all()):
        raise NotConverged(f"{what}: the states left the finite numbers, use a smaller step_size", float("nan"), step)


def _combined(moves: Tensor, changes: Tensor, r: Tensor, step_size: float) -> Tensor:
    """What to subtract from a plain step, (batch, n): the combination of earlier steps that best explains the residual."""
    gram = torch.einsum("kbn,lbn->bkl", changes, changes)
    # Relative to the trace, so that steps which repeat each other, and samples without any, do no harm.
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    ridge = (16 * torch.finfo(r.dtype).eps * trace).clamp_min(torch.finfo(r.dtype).tiny)
    gram = gram + ridge[:, None, None] * torch.eye(len(moves), dtype=r.dtype, device=r.device)
    weights = torch.linalg.solve(gram, torch.einsum("kbn,bn->bk", changes, r))
    return torch.einsum("bk,kbn->bn", weights, moves + step_size * changes)


def flat(values: Values) -> Tensor:
    """All layers side by side: (batch, neurons)."""
    return torch.cat([x.flatten(1) for x in values.values()], 1)


def unflat(x: Tensor, shapes: Mapping[str, torch.Size]) -> Values:
    """The layers again, of these shapes (batch, *shape)."""
    parts = x.split([shape[1:].numel() for shape in shapes.values()], 1)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def tolerance_for(tolerance: float | None, like: Tensor) -> float:
    """The tolerance, by default eps^(2/3) of the tensor's precision."""
    return torch.finfo(like.dtype).eps ** (2 / 3) if tolerance is None else tolerance


def _by_layer(name: str, given: Mapping[str, Tensor] | None, layers: Mapping[str, float]) -> Values:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a dict from layer names to tensors, got {type(given).__name__}")
    for layer, value in given.items():
        if layer not in layers:
            raise ValueError(f"{name} names {layer!r}, which is no dynamic layer of this memory; those are {', '.join(layers)}")
        if not isinstance(value, Tensor) or not value.is_floating_point():
            found = f"dtype {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} of layer {layer!r} must be a floating-point torch.Tensor, got {found}")
        check_finite(f"{name} of layer {layer!r}", value)
    return dict(given)
