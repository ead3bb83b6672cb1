"""Which index runs over what: the scopes of sums, and the ranges of the entries of an indexed quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import sympy as sp

Ranges = Mapping[sp.Symbol, sp.Expr]


def walk(expr: sp.Basic, ranges: Ranges) -> Iterator[tuple[sp.Basic, Ranges]]:
    """Every node of `expr` with the ranges of the indices in scope there; names of indexed quantities are not symbols.

    Raises ValueError for a sum that does not run from 1 to a size, or whose limits depend on other indices.
    """
    yield expr, ranges
    if isinstance(expr, sp.Sum):
        _check_limits(expr, ranges)
        inner = {**ranges, **{index: upper for index, _, upper in expr.limits}}
        for index, _, upper in expr.limits:
            yield index, inner
            yield from walk(upper, ranges)
        yield from walk(expr.function, inner)
        return
    for argument in expr.indices if isinstance(expr, sp.Indexed) else expr.args:
        yield from walk(argument, ranges)


def _check_limits(expr: sp.Sum, ranges: Ranges) -> None:
    indices = [limit[0] for limit in expr.limits]
    if len(set(indices)) < len(indices):
        raise ValueError(f"expr: an index is summed twice in {expr}")
    for index, lower, upper in expr.limits:
        if lower != 1:
            raise ValueError(f"expr: sums run from 1, found lower limit {lower} in {expr}")
        if free_symbols(upper) & (set(ranges) | set(indices)):
            raise ValueError(f"expr: the limit {upper} of {index} depends on another index in {expr}")
        if not (upper.is_integer and upper.is_nonnegative):
            raise ValueError(f"expr: the limit {upper} of {index} is no size (a non-negative integer) in {expr}")


def check_scopes(expr: sp.Basic, ranges: Ranges) -> None:
    """Raise ValueError unless every sum runs over a size and every Kronecker delta joins two indices of the same range.

    A delta may replace one index by the other in a sum only then: ``sum_j delta_ij x_j`` is ``x_i`` only if ``j`` reaches ``i``.
    """
    for node, scope in walk(expr, ranges):
        if not isinstance(node, sp.KroneckerDelta):
            continue
        if len(node.args) != 2 or any(index not in scope for index in node.args):
            raise ValueError(f"expr: {node} must join two indices whose ranges are known; known are {', '.join(map(str, scope)) or 'none'}")
        first, second = (scope[index] for index in node.args)
        if first != second:
            raise ValueError(f"expr: {node} joins indices with different ranges {first} and {second}")


@lru_cache(maxsize=2**14)
def free_symbols(expr: sp.Basic) -> frozenset[sp.Symbol]:
    """Symbols that stand free in `expr`, the indices of the variables of a derivative among them, names of indexed quantities not.

    sympy's own attribute leaves the former out: to it ``Derivative(L, x[i])`` does not depend on ``i``.
    """
    if isinstance(expr, sp.Symbol):
        return frozenset({expr})
    if isinstance(expr, sp.Sum):
        inside = free_symbols(expr.function) - {limit[0] for limit in expr.limits}
        return inside.union(*[free_symbols(bound) for limit in expr.limits for bound in limit[1:]])
    return frozenset().union(*map(free_symbols, expr.indices if isinstance(expr, sp.Indexed) else expr.args))


def names(expr: sp.Basic) -> set[sp.Basic]:
    """The plain symbols and the bases of indexed quantities in `expr`."""
    nodes = [node for node, _ in walk(expr, {})]
    return {node for node in nodes if isinstance(node, sp.Symbol)} | {node.base for node in nodes if isinstance(node, sp.Indexed)}


def entry_ranges(expr: sp.Basic, ranges: Ranges) -> dict[tuple[str, int, int], set[sp.Expr]]:
    """(name, number of indices, position) of each indexed quantity -> the ranges of the indices that stand there."""
    found: dict[tuple[str, int, int], set[sp.Expr]] = {}
    for node, scope in walk(expr, ranges):
        if isinstance(node, sp.Indexed):
            for position, index in enumerate(node.indices):
                here = {scope[symbol] for symbol in free_symbols(index) if symbol in scope}
                found.setdefault((str(node.base.label), len(node.indices), position), set()).update(here)
    return found
