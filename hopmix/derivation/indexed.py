"""Normal form of sums over indices of general size, so that two of them can be compared.

sympy builds and differentiates ``Sum``, ``Indexed`` and ``KroneckerDelta`` for symbolic sizes but does not decide whether such
expressions are equal: equal sums differ in the names of their dummies, in nesting and in uncollapsed deltas. `normal_form` writes an
expression as a collection of terms ``coefficient * product of factors`` under one sum each, with deltas collapsed and dummies renamed
canonically. Equal normal forms prove equality; a failure to match is never reported as equality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count, permutations, product
from math import floor

import sympy as sp

from hopmix.derivation.rate import Rate
from hopmix.derivation.scope import Ranges, check_scopes, free_symbols

Bound = dict[sp.Symbol, sp.Expr]
_fresh_number = count()


@dataclass
class Term:
    """``coefficient * prod(base**exponent)`` summed over `bound` (dummy -> upper limit, lower limit 1); the coefficient is a number."""

    coefficient: sp.Expr = sp.Integer(1)
    factors: dict[sp.Expr, sp.Expr] = field(default_factory=dict)
    bound: Bound = field(default_factory=dict)

    def times(self, other: Term) -> Term:
        factors = dict(self.factors)
        for base, exponent in other.factors.items():
            # Powers of a delta are the delta itself.
            factors[base] = exponent if isinstance(base, sp.KroneckerDelta) else factors.get(base, sp.Integer(0)) + exponent
        return Term(self.coefficient * other.coefficient, {b: e for b, e in factors.items() if e != 0}, self.bound | other.bound)


def rename_bound(expr: sp.Expr) -> sp.Expr:
    """The same expression with a fresh dummy for every summation index, so that no substitution can capture one."""
    if not expr.has(sp.Sum):
        return expr
    if isinstance(expr, sp.Sum):
        fresh = {limit[0]: sp.Dummy(f"d{next(_fresh_number)}", integer=True, positive=True) for limit in expr.limits}
        inner = rename_bound(expr.function).xreplace(fresh)
        return sp.Sum(inner, *[(fresh[limit[0]], *limit[1:]) for limit in expr.limits])
    return expr.func(*[rename_bound(argument) for argument in expr.args])


def is_zero(expr: sp.Expr, ranges: Ranges | None = None) -> bool:
    """Whether `expr` vanishes for every size, wherever its denominators do not. False may also mean that this normal form cannot tell.

    Parameters
    ----------
    expr: sums run from 1 to sizes; numbers are exact.
    ranges: the range of each free index that stands in a Kronecker delta.

    Raises ValueError for limits or deltas that are not as `hopmix.derivation.scope` demands, TypeError for what has no normal form.
    """
    return not _clear_powers(normal_form(expr, ranges))


def normal_form(expr: sp.Expr, ranges: Ranges | None = None) -> dict[tuple, Term]:
    """Terms of `expr` by canonical key; empty exactly when the expression is recognised as zero. Raises as `is_zero` does."""
    check_scopes(expr, ranges or {})
    return _normal(expr)


def _normal(expr: sp.Expr) -> dict[tuple, Term]:
    return _collect(_terms(rename_bound(expr)))


def _rebuild(terms: dict[tuple, Term]) -> sp.Expr:
    return sp.Add(*[_as_expr(term) for term in _ordered(terms)])


def _ordered(terms: dict[tuple, Term]) -> list[Term]:
    return sorted(terms.values(), key=lambda term: str(_as_expr(term)))


def _terms(expr: sp.Expr) -> list[Term]:
    if expr.is_Rational or isinstance(expr, sp.NumberSymbol) or expr is sp.I:
        return [Term(expr)] if expr != 0 else []
    if expr.is_Add:
        return [term for argument in expr.args for term in _terms(argument)]
    if expr.is_Mul:
        return _multiply([_terms(argument) for argument in expr.args])
    if isinstance(expr, sp.Sum):
        bound = {index: upper for index, _, upper in expr.limits}
        return [Term(term.coefficient, term.factors, term.bound | bound) for term in _terms(expr.function)]
    if expr.is_Pow:
        return _power_terms(*expr.as_base_exp())
    if _is_plain(expr):
        return [Term(factors={expr: sp.Integer(1)})]
    if isinstance(expr, sp.Function):
        return [Term(factors={_canonical(expr): sp.Integer(1)})]
    raise TypeError(f"expr: {type(expr).__name__} has no place in an exact indexed sum: {expr}")


def _is_plain(expr: sp.Expr) -> bool:
    return isinstance(expr, (sp.Symbol, sp.Indexed, sp.KroneckerDelta, Rate, sp.Derivative))


def _multiply(factors: list[list[Term]]) -> list[Term]:
    result = [Term()]
    for terms in factors:
        result = [left.times(right) for left, right in product(result, terms)]
    return result


def _power_terms(base: sp.Expr, exponent: sp.Expr) -> list[Term]:
    natural = exponent.is_Integer and exponent > 0
    if isinstance(base, sp.KroneckerDelta):
        if not natural:
            raise TypeError(f"expr: {base}**({exponent}) has no place in an exact indexed sum")
        return [Term(factors={base: sp.Integer(1)})]
    if exponent.has(sp.Sum, sp.KroneckerDelta):
        raise TypeError(f"expr: the exponent {exponent} holds a sum or a delta")
    if _is_plain(base):
        return [Term(factors={base: exponent})]
    if natural:
        return _multiply([_terms(rename_bound(base)) for _ in range(int(exponent))])
    if base.is_Rational and base != 0:
        return [Term(base**exponent)] if exponent.is_number else [Term(factors={base: exponent})]
    terms = _normal(base)
    if not terms:
        raise ValueError(f"expr: {base} vanishes and stands in the power {exponent}")
    content, primitive = _split_content(terms)
    factors = {symbol: power * exponent for symbol, power in content.factors.items()}
    fixed, symbolic = exponent.as_coeff_Add()
    coefficient = sp.Integer(1)
    if exponent.is_number:
        coefficient = content.coefficient**exponent
    elif content.coefficient != 1:
        # The exponent may hold a bound index: the number must stay inside its sum.
        factors[content.coefficient] = exponent
    if primitive != 1:
        if fixed != 0:
            factors[primitive] = factors.get(primitive, sp.Integer(0)) + fixed
        if symbolic != 0:
            factors[sp.Pow(primitive, symbolic, evaluate=False)] = sp.Integer(1)
    return [Term(coefficient, factors)]


def _split_content(terms: dict[tuple, Term]) -> tuple[Term, sp.Expr]:
    """Split a sum into a positive monomial that all its terms share and the rest, so that ``(c^2 A)^(1/2) = c A^(1/2)``."""
    ordered = _ordered(terms)
    coefficient = abs(ordered[0].coefficient)
    shared = {
        base: min(exponents)
        for base in ordered[0].factors
        if base.is_positive
        and not any(free_symbols(base) & set(term.bound) for term in ordered)
        and (exponents := [term.factors.get(base, sp.Integer(0)) for term in ordered])
        and all(exponent.is_Rational for exponent in exponents)
        and min(exponents) != 0
    }
    inverse = Term(1 / coefficient, {base: -power for base, power in shared.items()})
    return Term(coefficient, shared), _rebuild(_collect([term.times(inverse) for term in ordered]))


def _canonical(expr: sp.Expr) -> sp.Expr:
    """`expr` with every argument of a function and every base of a power in normal form."""
    if _is_plain(expr) or not expr.has(sp.Sum, sp.Add, sp.KroneckerDelta):
        return expr
    if isinstance(expr, sp.Function):
        return expr.func(*[_rebuild(_normal(argument)) for argument in expr.args])
    return _rebuild(_normal(expr))


def _replace(expr: sp.Expr, mapping: Mapping[sp.Symbol, sp.Symbol]) -> sp.Expr:
    """Substitution that no sum inside `expr` can capture."""
    return rename_bound(expr).xreplace(mapping)


def _collect(terms: list[Term]) -> dict[tuple, Term]:
    collected: dict[tuple, Term] = {}
    for term in terms:
        for reduced in (full for collapsed in _collapse_deltas(term) for full in _drop_empty_sums(collapsed)):
            key, labelled = _label(reduced)
            if key in collected:
                labelled.coefficient = labelled.coefficient + collected[key].coefficient
            collected[key] = labelled
    return {key: term for key, term in collected.items() if sp.expand(term.coefficient) != 0}


def _collapse_deltas(term: Term, settled: frozenset[sp.Expr] = frozenset()) -> list[Term]:
    """Use each delta once: eliminate a bound index where there is one, else write the pair of free indices one way only."""
    delta = next((f for f in term.factors if isinstance(f, sp.KroneckerDelta) and f not in settled), None)
    if delta is None:
        return [term]
    first, second = sorted(delta.args, key=str)
    old, new = (first, second) if first in term.bound else (second, first)
    start = Term(term.coefficient, {}, {index: upper for index, upper in term.bound.items() if index != old})
    if old not in term.bound:
        start.factors[delta] = sp.Integer(1)
        settled |= {delta}
    parts = [[start]]
    for base, exponent in term.factors.items():
        if base == delta:
            continue
        if old in free_symbols(base) | free_symbols(exponent):
            parts.append(_power_terms(_replace(base, {old: new}), exponent.xreplace({old: new})))
        else:
            parts.append([Term(factors={base: exponent})])
    return [done for reduced in _multiply(parts) for done in _collapse_deltas(reduced, settled)]


def _drop_empty_sums(term: Term) -> list[Term]:
    """Replace the sum over an index that stands nowhere by its upper limit."""
    used = set().union(*[free_symbols(base) | free_symbols(exponent) for base, exponent in term.factors.items()])
    kept = Term(term.coefficient, term.factors, {index: upper for index, upper in term.bound.items() if index in used})
    return _multiply([[kept], *[_terms(upper) for index, upper in term.bound.items() if index not in used]])


def _label(term: Term) -> tuple[tuple, Term]:
    """Rename bound indices canonically: of all assignments of standard names, the one whose written form comes first."""
    depth = 1 + max((_depth(base) for base in term.factors), default=-1)
    groups: dict[sp.Expr, list[sp.Symbol]] = {}
    for index, upper in term.bound.items():
        groups.setdefault(upper, []).append(index)
    choices, number = [], count()
    for upper, group in sorted(groups.items(), key=lambda item: str(item[0])):
        names = [sp.Symbol(f"{upper}#{depth}.{next(number)}", integer=True, positive=True) for _ in group]
        choices.append([dict(zip(order, names, strict=True)) for order in permutations(group)])
    best: tuple[tuple, dict, Bound] | None = None
    for assignment in product(*choices):
        mapping = {old: new for part in assignment for old, new in part.items()}
        factors: dict[sp.Expr, sp.Expr] = {}
        for base, exponent in term.factors.items():
            renamed = _canonical(_replace(base, mapping)) if mapping else base
            factors[renamed] = factors.get(renamed, sp.Integer(0)) + exponent.xreplace(mapping)
        key = tuple(sorted((str(base), str(exponent)) for base, exponent in factors.items()))
        if best is None or key < best[0]:
            best = (key, factors, {mapping[index]: upper for index, upper in term.bound.items()})
    _, factors, bound = best
    return (frozenset(factors.items()), frozenset(bound.items())), Term(term.coefficient, factors, bound)


def _depth(expr: sp.Expr) -> int:
    """The highest level among the canonical names that sums inside `expr` bind."""
    names = [limit[0].name for inner in expr.atoms(sp.Sum) for limit in inner.limits]
    return max((int(name.split("#")[1].split(".")[0]) for name in names if "#" in name), default=-1)


def _as_expr(term: Term) -> sp.Expr:
    body = term.coefficient * sp.Mul(*[base**exponent for base, exponent in term.factors.items()])
    limits = sorted(((index, 1, upper) for index, upper in term.bound.items()), key=str)
    return sp.Sum(body, *limits) if limits else body


def _clear_powers(terms: dict[tuple, Term]) -> dict[tuple, Term]:
    """Multiply by the least power of each composite base that leaves natural powers, then multiply those out.

    ``A^(-1/2) * sum(...)`` and ``A^(1/2)`` meet only after this: both are brought over one denominator. Multiplying by a power of a
    base keeps zero zero and nonzero nonzero, as long as the base itself is not zero (a norm, a variance).
    """
    settled: set[sp.Expr] = set()
    while True:
        base = next((b for term in terms.values() for b in term.factors if _is_composite(b, term) and b not in settled), None)
        if base is None:
            return terms
        settled.add(base)
        exponents = [term.factors.get(base, sp.Integer(0)) for term in terms.values()]
        if not all(exponent.is_Rational for exponent in exponents):
            continue
        lowest = min(exponents)
        cleared: list[Term] = []
        for term, exponent in zip(terms.values(), exponents, strict=True):
            power = exponent - lowest
            whole = floor(power)
            rest = Term(term.coefficient, {b: e for b, e in term.factors.items() if b != base}, dict(term.bound))
            if power != whole:
                rest = rest.times(Term(factors={sp.Pow(base, power - whole, evaluate=False): sp.Integer(1)}))
            cleared += _multiply([[rest]] + [_terms(rename_bound(base)) for _ in range(whole)])
        terms = _collect(cleared)


def _is_composite(base: sp.Expr, term: Term) -> bool:
    return isinstance(base, (sp.Add, sp.Sum, sp.Mul)) and not (free_symbols(base) & set(term.bound)) and term.factors[base].is_Rational
