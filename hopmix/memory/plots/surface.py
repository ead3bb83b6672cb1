"""A scalar function over a plane of states, and states seen on that plane (page: book/memory/hierarchical.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import check_finite, number, size
from hopmix.memory.hierarchical import State
from hopmix.memory.hierarchical.state import combine, pack


@dataclass(frozen=True)
class Plane:
    """The states ``origin + a first + b second`` with a in ``horizontal`` and b in ``vertical``.

    origin, first, second : one state each, (*shape), or a dict of them by layer.
    horizontal, vertical : (size,), increasing.
    """

    origin: State
    first: State
    second: State
    horizontal: Tensor
    vertical: Tensor

    def states(self) -> State:
        """All states of the grid: (size * size, *shape), the rows of equal b one after the other."""
        b, a = torch.meshgrid(self.vertical, self.horizontal, indexing="ij")
        a, b = a.flatten(), b.flatten()

        def place(origin: Tensor, first: Tensor, second: Tensor) -> Tensor:
            ones = [1] * origin.dim()
            return origin + a.view(-1, *ones) * first + b.view(-1, *ones) * second

        return pack(combine(place, *map(_by_layer, (self.origin, self.first, self.second))), self.origin)


@dataclass(frozen=True)
class Landscape:
    """A function's ``values`` on the grid of a ``plane``: (size, size), row b and column a."""

    plane: Plane
    values: Tensor


def plane(origin: State, first: State, second: State, extent: float | Sequence[Sequence[float]] = 1.5, size: int = 61) -> Plane:
    """A grid of ``size`` by ``size`` states.

    Parameters
    ----------
    origin, first, second : one state each, (*shape) without a batch, or a dict of them by layer.
    extent : a and b run from -extent to extent; or ((lowest a, highest a), (lowest b, highest b)).

    Raises
    ------
    TypeError, ValueError : naming the argument; also where first and second do not span a plane.
    """
    values = {name: _by_layer(state, name) for name, state in (("origin", origin), ("first", first), ("second", second))}
    shapes = {name: {layer: tuple(x.shape) for layer, x in state.items()} for name, state in values.items()}
    for name in ("first", "second"):
        if shapes[name] != shapes["origin"]:
            raise ValueError(f"{name} must have the layers and shapes of origin, {_shown(shapes['origin'])}, got {_shown(shapes[name])}")
    gram = _gram(values["first"], values["second"])
    if bool(gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2 <= 1e-12 * gram[0, 0] * gram[1, 1]):
        raise ValueError("first and second must span a plane, but one is a multiple of the other")
    horizontal, vertical = _ranges(extent)
    count = _size("size", size)
    like = next(iter(values["origin"].values()))

    def axis(ends: tuple[float, float]) -> Tensor:
        return torch.linspace(*ends, count, dtype=like.dtype, device=like.device)

    return Plane(origin, first, second, axis(horizontal), axis(vertical))


def landscape(
    function: Callable[[State], Tensor],
    origin: State,
    first: State,
    second: State,
    extent: float | Sequence[Sequence[float]] = 1.5,
    size: int = 61,
    block: int = 4096,
) -> Landscape:
    """The values of a batched scalar function, such as ``memory.energy``, over a plane of states.

    Parameters
    ----------
    function : takes states (batch, *shape), or a dict of them, and returns (batch,).
    origin, first, second, extent, size : as of ``plane``.
    block : at most so many states are evaluated at once.

    Raises
    ------
    TypeError, ValueError : as ``plane`` does, and where the function does not return (batch,).
    FloatingPointError : a value is not finite.
    """
    grid = plane(origin, first, second, extent, size)
    block = _size("block", block, least=1)
    states = _by_layer(grid.states())
    count, found = len(next(iter(states.values()))), []
    with torch.no_grad():
        for start in range(0, count, block):
            part = {name: x[start : start + block] for name, x in states.items()}
            values = function(pack(part, origin))
            expected = (min(block, count - start),)
            if not isinstance(values, Tensor) or tuple(values.shape) != expected:
                shown = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
                raise ValueError(f"function must return a tensor of shape {expected}, one number for each state, got {shown}")
            found.append(values)
    values = torch.cat(found)
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"function is not finite at {int((~values.isfinite()).sum())} of {count} states of the plane")
    return Landscape(grid, values.reshape(len(grid.vertical), len(grid.horizontal)))


def project(states: State, plane: Plane) -> Tensor:
    """The coordinates (a, b) of the point of the plane that is nearest to each state: (…, *shape) gives (…, 2).

    Raises TypeError for what is no tensor, dict of tensors or Plane, ValueError for layers or shapes that are not the plane's.
    """
    if not isinstance(plane, Plane):
        raise TypeError(f"plane must be a Plane, got {type(plane).__name__}")
    values, origin, first, second = (_by_layer(state, "states", finite=False) for state in (states, plane.origin, plane.first, plane.second))
    if set(values) != set(origin):
        raise ValueError(f"states must have the layers of the plane, {', '.join(origin)}, got {', '.join(values)}")
    along = 0
    for name, x in values.items():
        axes = origin[name].dim()
        if tuple(x.shape[x.dim() - axes :]) != tuple(origin[name].shape) or x.dim() < axes:
            raise ValueError(f"states must end in the plane's shape {tuple(origin[name].shape)}, got {tuple(x.shape)}")
        offset = (x - origin[name]).flatten(x.dim() - axes) if axes else (x - origin[name])[..., None]
        basis = torch.stack([first[name].flatten(), second[name].flatten()], 1)  # (entries, 2)
        along = along + offset @ basis
    # Rows, because the Gram matrix is symmetric: coordinates = along @ gram^-1.
    return along @ torch.linalg.inv(_gram(first, second))


def _by_layer(state: State, name: str = "state", finite: bool = True) -> dict[str, Tensor]:
    layers = {"": state} if isinstance(state, Tensor) else state
    if not isinstance(layers, dict) or not layers:
        raise TypeError(f"{name} must be a torch.Tensor or a dict of them, got {type(state).__name__}")
    for x in layers.values():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            found = f"dtype {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name} must be floating-point torch.Tensors, got {found}")
        if finite:
            check_finite(name, x)
    return {layer: x.detach() for layer, x in layers.items()}


def _gram(first: dict[str, Tensor], second: dict[str, Tensor]) -> Tensor:
    """(2, 2): the inner products of the two directions over all layers."""
    both = torch.stack([torch.cat([x.flatten() for x in state.values()]) for state in (first, {name: second[name] for name in first})])
    return both @ both.T


def _ranges(extent: float | Sequence[Sequence[float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    if isinstance(extent, Sequence) and not isinstance(extent, str):
        if len(extent) != 2 or any(not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2 for ends in extent):
            raise ValueError(f"extent must be a number or two pairs (lowest, highest), got {extent!r}")
        ranges = tuple(tuple(number("extent", end) for end in ends) for ends in extent)
        if any(low >= high for low, high in ranges):
            raise ValueError(f"extent must have lowest < highest in both pairs, got {extent!r}")
        return ranges
    width = number("extent", extent, "positive")
    return (-width, width), (-width, width)


def _size(name: str, value: int, least: int = 2) -> int:
    return size(name, value, least)


def _shown(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{layer} {shape}".strip() for layer, shape in shapes.items())
