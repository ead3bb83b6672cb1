"""Indexed expressions read entry by entry at given sizes, in symbols or in numbers: the second, independent reading of every equation."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product

import mpmath
import sympy as sp
from sympy.core.function import AppliedUndef

from hopmix.derivation.rate import Rate
from hopmix.derivation.scope import free_symbols

Sizes = Mapping[sp.Symbol, int]
_DEFAULT_RANGE = (0.3, 1.7)


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
    """`expr` with every sum written out, every entry a symbol named ``W[1, 2]`` and every index and size a number.

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
        return sp.Symbol(_entry(expr, [write_out(index, sizes, values) for index in expr.indices]), real=True)
    if isinstance(expr, Rate):
        return sp.Symbol(f"d/dt {write_out(expr.args[0], sizes, values)}", real=True)
    if isinstance(expr, sp.Derivative):
        variables = [write_out(variable, sizes, values) for variable in expr.variables]
        if isinstance(expr.expr, sp.Symbol):
            return sp.Symbol(f"d {expr.expr}/d {variables}", real=True)
        return sp.diff(write_out(expr.expr, sizes, values), *variables)
    if isinstance(expr, sp.Symbol):
        return sp.Integer(values[expr] if expr in values else sizes[expr]) if expr in values or expr in sizes else expr
    if not expr.args:
        return expr
    return expr.func(*[write_out(argument, sizes, values) for argument in expr.args])


def _entry(expr: sp.Indexed, indices: list) -> str:
    return f"{expr.base.label}[{', '.join(map(str, indices))}]"


class Numbers:
    """Random numbers for all entries and symbols of indexed expressions, and the values that expressions have there.

    Parameters
    ----------
    sizes: a number for every size symbol.
    seed: names the point; the number of an entry depends only on the seed and its name.
    ranges: the interval for a Symbol or for the entries of an IndexedBase (default 0.3 to 1.7, so that norms stay positive).

    Partial derivatives are central differences at twice the working precision. Raises ValueError for an index or a limit without a
    value, TypeError for what has no number (a limit, a function that nothing is known of).
    """

    def __init__(self, sizes: Sizes, seed: str, ranges: Mapping[sp.Basic, tuple[float, float]] | None = None):
        self.sizes, self.seed, self.ranges = sizes, seed, dict(ranges or {})
        self._drawn: dict[str, mpmath.mpf] = {}
        self._known: dict[tuple, mpmath.mpf] = {}
        self._indices: dict[sp.Basic, tuple[sp.Symbol, ...]] = {}
        self._moved: dict[tuple, Numbers] = {}

    def value(self, expr: sp.Basic, values: Mapping[sp.Symbol, int] | None = None) -> mpmath.mpf:
        """The number that `expr` has here, the free indices at `values`; NaN where it is not defined."""
        try:
            return mpmath.mpmathify(self._value(expr, dict(values or {})))
        except (ZeroDivisionError, OverflowError):
            return mpmath.nan

    def _draw(self, name: str, kind: sp.Basic) -> mpmath.mpf:
        if name not in self._drawn:
            low, high = map(mpmath.mpf, self.ranges.get(kind, _DEFAULT_RANGE))
            self._drawn[name] = low + (high - low) * mpmath.mpf(random.Random(f"{self.seed} {name}").random())
        return self._drawn[name]

    def _value(self, expr: sp.Basic, values: dict[sp.Symbol, int]):
        if expr.is_Integer:
            return int(expr)
        if isinstance(expr, sp.Symbol):
            if expr in values:
                return values[expr]
            return self.sizes[expr] if expr in self.sizes else self._draw(expr.name, expr)
        if expr not in self._indices:
            self._indices[expr] = tuple(free_symbols(expr))
        key = (expr, tuple(values.get(index) for index in self._indices[expr]))
        if key not in self._known:
            self._known[key] = self._compute(expr, values)
        return self._known[key]

    def _compute(self, expr: sp.Basic, values: dict[sp.Symbol, int]):
        if expr.is_Add:
            return sum(self._value(argument, values) for argument in expr.args)
        if expr.is_Mul:
            result = 1
            for argument in expr.args:
                result = result * self._value(argument, values)
            return result
        if expr.is_Pow:
            base, exponent = self._value(expr.base, values), self._value(expr.exp, values)
            return mpmath.mpmathify(base) ** exponent
        if isinstance(expr, sp.Indexed) or isinstance(expr, Rate):
            return self._draw(self._name(expr, values), expr.base if isinstance(expr, sp.Indexed) else expr)
        if isinstance(expr, sp.Sum):
            ranges = [[(index, k) for k in range(int(lower), self._whole(upper, values) + 1)] for index, lower, upper in expr.limits]
            return sum((self._value(expr.function, values | dict(choice)) for choice in product(*ranges)), 0)
        if isinstance(expr, sp.KroneckerDelta):
            return int(self._value(expr.args[0], values) == self._value(expr.args[1], values))
        if isinstance(expr, sp.Derivative):
            return self._derivative(expr, values)
        if expr.is_Rational:
            return mpmath.mpf(expr.p) / expr.q
        if expr.is_Float or isinstance(expr, sp.NumberSymbol):
            return mpmath.mpmathify(expr.evalf(mpmath.mp.dps))
        if expr in (sp.zoo, sp.nan, sp.oo, -sp.oo):
            return mpmath.nan
        if expr is sp.I:
            return mpmath.mpc(0, 1)
        if not expr.is_Function or isinstance(expr, AppliedUndef):
            raise TypeError(f"expr: no number is known for {expr}")
        return _numeric(expr.func, len(expr.args))(*[mpmath.mpmathify(self._value(argument, values)) for argument in expr.args])

    def _whole(self, expr: sp.Expr, values: dict[sp.Symbol, int]) -> int:
        unknown = [symbol for symbol in free_symbols(expr) if symbol not in values and symbol not in self.sizes]
        number = None if unknown else self._value(expr, values)
        if number is None or number != int(number):
            raise ValueError(f"sizes: {expr} has no whole number here; known are {', '.join(map(str, [*self.sizes, *values]))}")
        return int(number)

    def _name(self, expr: sp.Basic, values: dict[sp.Symbol, int]) -> str:
        if isinstance(expr, sp.Indexed):
            return _entry(expr, [self._whole(index, values) for index in expr.indices])
        if isinstance(expr, Rate):
            return f"d/dt {self._name(expr.args[0], values)}"
        if isinstance(expr, sp.Symbol):
            return expr.name
        raise TypeError(f"expr: {expr} is neither a symbol nor an entry")

    def _derivative(self, expr: sp.Derivative, values: dict[sp.Symbol, int]):
        names = [self._name(variable, values) for variable in expr.variables]
        if isinstance(expr.expr, sp.Symbol):
            return self._draw(f"d {expr.expr}/d {names}", expr)
        *others, last = expr.variables
        inner = sp.Derivative(expr.expr, *others, evaluate=False) if others else expr.expr
        step = mpmath.mpf(10) ** (-mpmath.mp.dps // 2)
        with mpmath.workdps(2 * mpmath.mp.dps):
            ahead, behind = (self._move(names[-1], last, way * step)._value(inner, values) for way in (1, -1))
            return (ahead - behind) / (2 * step)

    def _move(self, name: str, variable: sp.Basic, step: mpmath.mpf) -> Numbers:
        if (name, step) not in self._moved:
            moved = Numbers(self.sizes, self.seed, self.ranges)
            moved._drawn = {**self._drawn, name: self._draw(name, variable.base if isinstance(variable, sp.Indexed) else variable) + step}
            self._moved[name, step] = moved
        return self._moved[name, step]


@cache
def _numeric(function: type[sp.Function], arguments: int) -> Callable:
    names = sp.symbols(f"a:{arguments}")
    stand_in = getattr(function, "stand_in", function)
    return sp.lambdify(names, stand_in(*names), "mpmath")
