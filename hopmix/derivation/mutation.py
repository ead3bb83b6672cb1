"""Mutation of derivations: a check is worth something only if a wrong equation fails it."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from hopmix.derivation.checks import VerificationError, vanishes
from hopmix.derivation.derivation import Derivation
from hopmix.derivation.rate import Rate
from hopmix.derivation.rewrite import rewrite


def mutants(statement: Relational) -> Iterator[tuple[str, Relational]]:
    """Wrong versions of a statement, each with a word on what was changed.

    Signs are flipped, factors and terms dropped, coefficients doubled, indices swapped, powers inverted; on the right side, and on the
    left side too where the right one is a number. Some may say the same in other words, as ``B_n B_m`` for ``B_m B_n``.
    """
    sides = [False] if statement.rhs.free_symbols or statement.rhs.is_Atom is False else [True, False]
    for on_left in sides:
        side = statement.lhs if on_left else statement.rhs
        seen = {side}
        for what, changed in _variants(side):
            multiple = sp.simplify(changed / side) if statement.rhs == 0 and side != 0 else None
            if changed in seen or (multiple is not None and multiple.is_number):
                continue
            seen.add(changed)
            pair = (changed, statement.rhs) if on_left else (statement.lhs, changed)
            yield what, statement.func(*pair, evaluate=False)


def assert_mutants_fail(derivation: Derivation, step_id: str) -> int:
    """Assert that every mutant of a step makes it, or a step that rests on it, fail; return the number of mutants.

    Raises AssertionError naming the survivors, or when the step has no mutants.
    """
    affected = [step_id]
    for step in derivation.steps:
        if set(step.using) & set(affected) and step.id not in affected:
            affected.append(step.id)
    count, survivors = 0, []
    for what, statement in mutants(derivation[step_id].statement):
        count += 1
        try:
            derivation.with_statement(step_id, statement).verify(only=affected)
        except (VerificationError, ValueError, RuntimeError):
            continue
        if _says_the_same(derivation, step_id, affected, statement):
            count -= 1
        else:
            survivors.append(f"{what}: {statement}")
    if survivors or not count:
        raise AssertionError(f"{derivation.name}, step {step_id!r}: {len(survivors)} of {count} mutants survive\n  " + "\n  ".join(survivors))
    return count


def _says_the_same(derivation: Derivation, step_id: str, affected: list[str], statement: Relational) -> bool:
    """Whether the definitions around a step make the changed statement equal to it, as when a symmetric matrix is transposed."""
    used = {name for other in affected for name in derivation[other].using} - {step_id}
    rules = tuple(rule for name in used if derivation[name].kind == "definition" for rule in derivation.rules((name,)))
    original = derivation[step_id].statement
    difference = (original.lhs - original.rhs) - (statement.lhs - statement.rhs)
    try:
        return vanishes(rewrite(difference, rules, derivation.dynamic), derivation.indices)
    except (TypeError, ValueError):
        return False


def _variants(expr: sp.Basic) -> Iterator[tuple[str, sp.Basic]]:
    yield from _local(expr)
    if isinstance(expr, (sp.Indexed, sp.KroneckerDelta, Rate, AppliedUndef, sp.Symbol)):
        return
    inner = 1 if isinstance(expr, (sp.Sum, sp.Derivative, sp.Limit, sp.Integral)) else len(expr.args)
    for position in range(inner):
        for what, changed in _variants(expr.args[position]):
            arguments = list(expr.args)
            arguments[position] = changed
            yield what, expr.func(*arguments)


def _local(expr: sp.Basic) -> Iterator[tuple[str, sp.Basic]]:
    if expr.is_Add:
        for term in expr.args:
            yield f"sign of {term}", expr - 2 * term
            yield f"without {term}", expr - term
            yield f"twice {term}", expr + term
    elif expr.is_Mul:
        yield "sign", -expr
        for factor in expr.args:
            yield f"without factor {factor}", expr / factor
        yield "twice", 2 * expr
    elif isinstance(expr, sp.Indexed) and len(expr.indices) == 2:
        yield f"indices of {expr} swapped", expr.base[expr.indices[1], expr.indices[0]]
        yield f"first index of {expr} repeated", expr.base[expr.indices[0], expr.indices[0]]
    elif isinstance(expr, sp.Indexed) and len(expr.indices) == 4:
        a, b, c, d = expr.indices
        yield f"indices of {expr} swapped", expr.base[a, d, c, b]
    elif expr.is_Pow:
        yield f"power of {expr} inverted", expr.base ** (-expr.exp)
        yield f"power of {expr} raised", expr.base ** (expr.exp + 1)
    elif expr.is_Number:
        yield f"{expr} + 1", expr + 1
    elif isinstance(expr, (sp.Sum, Rate, sp.Symbol)) or isinstance(expr, sp.Function):
        yield f"sign of {expr}", -expr
