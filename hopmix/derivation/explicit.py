"""Write out indexed expressions at given sizes, entry by entry: the second, independent reading of every equation."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import mpmath
import sympy as sp

from hopmix.derivation.rate import Rate

Sizes = Mapping[sp.Symbol, int]


class UnspecifiedFunction(sp.Function):
    """A function of one variable known only through its derivative; see `function_with_derivative`."""

    nargs = 1


def function_with_derivative(*names: str) -> tuple[type[sp.Function], ...]:
    """Functions named `names`, each the derivative of the one before it and otherwise unspecified.

    For numeric checks they stand for ``log(cosh(x)) + x^3/7`` and its derivatives: smooth, and neither even nor odd.
    """
    x = sp.Symbol("x", real=True)
    classes: list[type[sp.Function]] = []
    for order in reversed(range(len(names))):
        stand_in = sp.diff(sp.log(sp.cosh(x)) + x**3 / 7, x, order)
        following = classes[-1] if classes else None

        def fdiff(self, argindex=1, following=following):
            if following is None:
                raise ValueError(f"{type(self).__name__}: its derivative has no name here")
            return following(self.args[0])

        classes.append(type(names[order], (UnspecifiedFunction,), {"fdiff": fdiff, "stand_in": sp.Lambda(x, stand_in)}))
    return tuple(reversed(classes))


def write_out(expr: sp.Basic, sizes: Sizes, values: Mapping[sp.Symbol, int] | None = None) -> sp.Expr:
    """`expr` with every sum written out, every entry ``W[1, 2]`` a symbol ``W_1_2`` and every index and size a number.

    Raises ValueError for a size that `sizes` does not give.
    """
    values = dict(values or {})
    if isinstance(expr, sp.Sum):
        ranges = []
        for index, lower, upper in expr.limits:
            last = write_out(upper, sizes, values)
            if not last.is_Integer:
                raise ValueError(f"sizes: {upper} is not given, so the sum over {index} cannot be written out")
            ranges.append([(index, k) for k in range(int(lower), int(last) + 1)])
        return sp.Add(*[write_out(expr.function, sizes, values | dict(choice)) for choice in product(*ranges)])
    if isinstance(expr, sp.Indexed):
        indices = [write_out(index, sizes, values) for index in expr.indices]
        return sp.Symbol("_".join([str(expr.base.label), *map(str, indices)]), real=True)
    if isinstance(expr, Rate):
        return sp.Symbol(f"rate_of_{write_out(expr.args[0], sizes, values)}", real=True)
    if isinstance(expr, sp.Derivative) and not isinstance(expr.expr, sp.Symbol):
        return sp.diff(write_out(expr.expr, sizes, values), *[write_out(v, sizes, values) for v in expr.variables])
    if isinstance(expr, sp.Symbol):
        return sp.Integer(values[expr] if expr in values else sizes[expr]) if expr in values or expr in sizes else expr
    if not expr.args:
        return expr
    return expr.func(*[write_out(argument, sizes, values) for argument in expr.args])


def evaluate(expr: sp.Expr, point: Mapping[sp.Symbol, mpmath.mpf]) -> mpmath.mpf:
    """The number that a written-out expression has at `point`, in mpmath's working precision; NaN where it is not finite."""
    for kind in {type(node) for node in expr.atoms(UnspecifiedFunction)}:
        expr = expr.replace(kind, kind.stand_in)
    if expr.has(sp.zoo, sp.nan, sp.oo):
        return mpmath.nan
    names = sorted(expr.free_symbols, key=str)
    return mpmath.mpmathify(sp.lambdify(names, expr, "mpmath")(*[point[name] for name in names]))


def random_point(symbols: frozenset[sp.Symbol], generator, ranges: Mapping[sp.Symbol, tuple[float, float]] | None = None) -> dict:
    """Random values for `symbols`, uniform on `ranges` (default 0.3 to 1.7, so that norms and time constants stay positive)."""
    ranges = ranges or {}
    point = {}
    for symbol in sorted(symbols, key=str):
        low, high = ranges.get(symbol, (0.3, 1.7))
        point[symbol] = mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * mpmath.mpf(generator.random())
    return point
