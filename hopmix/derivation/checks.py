"""The checks of a derivation's steps: by normal form, by simplification at sizes, and at random numbers."""

from __future__ import annotations

import operator
import random
from collections.abc import Mapping
from itertools import combinations, product
from typing import TYPE_CHECKING

import mpmath
import sympy as sp
from sympy.core.relational import Relational

from hopmix.derivation.explicit import Numbers, write_out
from hopmix.derivation.indexed import is_zero
from hopmix.derivation.rewrite import rewrite
from hopmix.derivation.scope import free_symbols

if TYPE_CHECKING:
    from hopmix.derivation.derivation import Derivation, Step

_SPOT_DIGITS = 20
_WORKING_DIGITS = 50
_RELATIONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


class VerificationError(AssertionError):
    """A step that its check refutes; the message names the step, both sides and the residual."""


def _fail(step: Step, residual: object, why: str) -> VerificationError:
    return VerificationError(
        f"step {step.id!r} ({step.kind}) of {step.derivation.name} does not hold: {why}\n"
        f"  left:     {step.statement.lhs}\n  right:    {step.statement.rhs}\n  residual: {residual}"
    )


def _check_definition(derivation: Derivation, step: Step) -> str:
    return "notation"


def _check_exact(derivation: Derivation, step: Step) -> str:
    worst = None if step.statement.has(sp.Limit) else check_at_random(derivation, step, points=2, digits=_SPOT_DIGITS)
    residual = derivation.residual(step.id)
    if not vanishes(residual, derivation.indices):
        raise _fail(step, residual, "the residual does not simplify to 0")
    return "residual 0" if worst is None else f"residual 0; at random numbers {mpmath.nstr(worst, 2)}"


def vanishes(residual: sp.Expr, indices: Mapping[sp.Symbol, sp.Expr]) -> bool:
    """Whether a residual is recognised as zero: by its normal form where it is indexed, else by sympy's simplification."""
    if residual.has(sp.Sum, sp.Indexed):
        return is_zero(residual, indices)
    # Nothing is known of the derivative of a bare name, but doit() would make it 0.
    named = {node: sp.Dummy() for node in residual.atoms(sp.Derivative) if isinstance(node.expr, sp.Symbol)}
    return sp.simplify(residual.xreplace(named).doit()) == 0


def _check_numeric(derivation: Derivation, step: Step) -> str:
    worst = check_at_random(derivation, step, points=step.points, digits=step.digits)
    return f"largest residual {mpmath.nstr(worst, 2)} at {step.points} points"


def _assignments(derivation: Derivation, statement: Relational, sizes: Mapping[sp.Symbol, int]) -> list[dict[sp.Symbol, int]]:
    free = sorted(free_symbols(statement) & set(derivation.indices), key=str)
    ranges = [range(1, int(write_out(derivation.indices[index], sizes)) + 1) for index in free]
    return [dict(zip(free, choice, strict=True)) for choice in product(*ranges)]


def _telling(derivation: Derivation, assignments: list[dict[sp.Symbol, int]]) -> list[dict[sp.Symbol, int]]:
    """At least one assignment for each way in which indices of one range can coincide: deltas show only there. Never fewer than three."""
    patterns: dict[tuple[bool, ...], dict[sp.Symbol, int]] = {}
    for assignment in assignments:
        pairs = [(a, b) for a, b in combinations(assignment, 2) if derivation.indices[a] == derivation.indices[b]]
        patterns.setdefault(tuple(assignment[a] == assignment[b] for a, b in pairs), assignment)
    chosen = list(patterns.values())
    return chosen + [other for other in assignments if other not in chosen][: max(0, 3 - len(chosen))]


def check_at_random(derivation: Derivation, step: Step, points: int, digits: int) -> mpmath.mpf:
    """The largest residual relative to the sides, over random points and index values."""
    statement, rules, worst = step.statement, derivation.rules(step.using), mpmath.mpf(0)
    sides = [rewrite(side, rules, derivation.dynamic, differentiate=False) for side in (statement.lhs, statement.rhs)]
    assignments = _assignments(derivation, statement, derivation.spot_sizes)
    random.Random(step.id).shuffle(assignments)
    with mpmath.workdps(max(_WORKING_DIGITS, digits + 20)):
        for point in range(points):
            numbers = Numbers(derivation.spot_sizes, f"{step.id} {point}", step.ranges)
            for assignment in _telling(derivation, assignments):
                left, right = (numbers.value(side, assignment) for side in sides)
                worst = max(worst, _compare(step, left, right, digits, f"at {assignment} and random numbers"))
    return worst


def _compare(step: Step, left: mpmath.mpf, right: mpmath.mpf, digits: int, where: str) -> mpmath.mpf:
    if isinstance(step.statement, sp.Eq):
        relative = abs(left - right) / max(abs(left), abs(right), mpmath.mpf(10) ** -10)
        if not relative < mpmath.mpf(10) ** -digits:
            raise _fail(step, mpmath.nstr(left - right, 10), f"{where} the sides differ")
        return relative
    orderly = isinstance(left, mpmath.mpf) and isinstance(right, mpmath.mpf) and mpmath.isfinite(left) and mpmath.isfinite(right)
    if not orderly or not _RELATIONS[step.statement.rel_op](left, right):
        raise _fail(step, mpmath.nstr(left - right, 10), f"{where} it is violated")
    return mpmath.mpf(0)


def _check_at_sizes(derivation: Derivation, step: Step) -> str:
    expr = derivation.residual(step.id, differentiate=False)
    count = 0
    for sizes in step.sizes:
        for assignment in _assignments(derivation, step.statement, sizes):
            residual = sp.simplify(write_out(expr, sizes, assignment))
            if residual != 0:
                raise _fail(step, residual, f"at sizes {sizes} and indices {assignment}")
            count += 1
    if not count:
        raise _fail(step, "none computed", f"at sizes {step.sizes} there is no entry to check")
    return f"{count} entries simplify to 0"


def run(derivation: Derivation, step: Step) -> str:
    """Check one step by its kind and return what was found. Raises VerificationError."""
    return _CHECKS[step.kind](derivation, step)


_CHECKS = {"definition": _check_definition, "exact": _check_exact, "exact at sizes": _check_at_sizes, "numeric": _check_numeric}
