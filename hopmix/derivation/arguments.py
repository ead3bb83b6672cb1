"""What a step of a derivation may be given: refused are statements and checks that would check nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

import sympy as sp
from sympy.core.relational import Relational

_NUMERIC = (sp.Eq, sp.Le, sp.Lt, sp.Ge, sp.Gt)


def check_statement(step_id: str, kind: str, statement: object) -> None:
    """Raise TypeError for what is no statement of this kind, ValueError for one whose two sides are the same expression."""
    allowed = _NUMERIC if kind == "numeric" else (sp.Eq,)
    if not isinstance(statement, Relational) or not isinstance(statement, allowed):
        words = "an equation or one of <=, <, >=, >" if kind == "numeric" else "an equation"
        raise TypeError(f"statement: {step_id} ({kind}) needs {words}, found {statement!r}")
    if statement.lhs == statement.rhs:
        raise ValueError(f"statement: both sides of {step_id} are {statement.lhs}, which says nothing")


def check_sizes(step_id: str, sizes: Iterable[Mapping], indices: Mapping[sp.Symbol, sp.Expr]) -> None:
    """Raise ValueError unless there are sizes, each giving a positive whole number to every size symbol of the indices."""
    sizes = tuple(sizes)
    if not sizes:
        raise ValueError(f"sizes: {step_id} needs at least one assignment of sizes, found none")
    for assignment in sizes:
        wrong = {name: value for name, value in assignment.items() if not isinstance(name, sp.Symbol) or not _is_whole(value) or value < 1}
        if wrong:
            raise ValueError(f"sizes: {step_id} needs size symbols with whole numbers from 1, found {wrong}")
        for index, size in indices.items():
            value = size.subs(dict(assignment))
            if value.is_Integer and value < 1:
                raise ValueError(f"sizes: at {assignment} the index {index} of {step_id} runs over {value} values; it needs at least 1")


def check_sampling(step_id: str, points: object, digits: object, ranges: Mapping, known: Iterable[sp.Symbol]) -> None:
    """Raise TypeError or ValueError unless the numbers of points and digits are positive and each range is one of a known symbol, not empty."""
    for name, value in (("points", points), ("digits", digits)):
        if not _is_whole(value):
            raise TypeError(f"{name}: {step_id} needs a whole number, found {value!r}")
        if value < 1:
            raise ValueError(f"points, digits: {step_id} needs at least 1 of each, found {points} and {digits}")
    for symbol, interval in ranges.items():
        if symbol not in set(known):
            raise ValueError(f"ranges: {symbol} does not occur in {step_id} or what it uses")
        low, high = interval
        if not (isfinite(low) and isfinite(high) and low < high):
            raise ValueError(f"ranges: {step_id} needs low < high for {symbol}, both finite, found {low} and {high}")


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, sp.Integer)) and not isinstance(value, bool)
