"""The normal form never takes a nonzero expression for zero, and recognises equals in other words."""

import random

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Derivative, Eq, Function, IndexedBase, KroneckerDelta, Rational, Sum, exp, pi, sqrt

from hopmix.derivation import function_with_derivative, mutants
from hopmix.derivation.explicit import Numbers
from hopmix.derivation.indexed import is_zero, normal_form, rename_bound

S, C = sp.symbols("S C", integer=True, positive=True)
i, j, k, m = sp.symbols("i j k m", integer=True, positive=True)
I, J = sp.symbols("I J", integer=True, positive=True)
a, b, c = sp.Symbol("a", positive=True), sp.Symbol("b"), sp.Symbol("c", positive=True)
L = sp.Symbol("L", real=True)
x, z, w = IndexedBase("x"), IndexedBase("z"), IndexedBase("w")
p = IndexedBase("p", positive=True)
f, f_prime = function_with_derivative("f", "f'")
RANGES = {i: S, j: S, k: S, m: S, I: C, J: C}
delta = KroneckerDelta


def over(body, *indices):
    return Sum(body, *[(index, 1, RANGES[index]) for index in indices])


NONZERO = {
    "a bound index in an exponent": over(a**j * (delta(i, j) - delta(k, j)), j),
    "a bound index in the exponent of a number": over(pi**j * (delta(i, j) - delta(k, j)), j),
    "a bound index in the exponent of a bracket": over((1 + a) ** j * (delta(i, j) - delta(k, j)), j),
    "an empty sum over a composite size": Sum(1, (j, 1, S + 1)) - S,
    "a positive entry taken out of its sum": sqrt(over(p[j] * x[j], j)) - sqrt(over(x[j], j)) * sqrt(over(p[j], j)),
    "a positive function of the index taken out": sqrt(over(exp(j) * x[j], j)) - over(exp(j), j) * sqrt(over(x[j], j)),
    "a derivative by the entry of a bound index": over(Derivative(L, x[j]), j) - S * Derivative(L, x[i]),
    "a root of a square": sqrt(x[i] ** 2) - x[i],
    "a square of a sum for a sum of squares": over(x[i], i) ** 2 - over(x[i] ** 2, i),
    "a negative factor under a root": sqrt(over(b**2 * x[j] ** 2, j)) - b * sqrt(over(x[j] ** 2, j)),
    "the sign under a root": sqrt(-over(x[j], j)) - sqrt(over(x[j], j)),
    "a free for a bound index": over(x[j] * z[j], j) - over(x[j] * z[i], j),
    "an inner index of the outer name": over(x[i] * over(z[i], i), i) - over(x[i] * z[i], i),
    "entries crossed": over(w[i, j] * x[i] * z[j], i, j) - over(w[j, i] * x[i] * z[j], i, j),
    "equal indices in place of two": over(x[i] * x[j], i, j) - S * over(x[i] ** 2, i),
    "two ranges": over(x[i], i) - Sum(x[j], (j, 1, C)),
    "a function of a sum": f(over(x[j], j)) - over(f(x[j]), j),
    "a delta between free indices": delta(i, j) * x[i] - delta(i, j) * x[k],
    "a delta between free indices dropped": delta(i, j) * x[i] - x[i],
    "a missing factor of a size": over(x[j], i, j) - over(x[j], j),
    "a shifted index": over(x[j + 1], j) - over(x[j], j),
    "an unknown function": Function("q")(over(x[j], j)) - Function("q")(over(z[j], j)),
    "a power of a sum": over(x[j], j) ** a - over(x[j] ** a, j),
}


@pytest.mark.parametrize("expr", NONZERO.values(), ids=NONZERO)
def test_a_nonzero_expression_is_not_zero(expr):
    assert not is_zero(expr, RANGES)


ZERO = {
    "renamed": over(x[i] * z[i], i) - over(x[j] * z[j], j),
    "nested": over(x[i] * over(w[i, j], j), i) - over(x[j] * w[j, i], i, j),
    "product of sums": over(x[i], i) ** 2 - over(x[i] * x[j], i, j),
    "the same index twice, one inside the other": over(x[i] * over(z[i], i), i) - over(x[i], i) * over(z[j], j),
    "delta": over(delta(i, j) * x[j], j) - x[i],
    "two deltas": over(delta(i, j) * delta(j, k) * x[j], j) - delta(i, k) * x[k],
    "three free deltas": delta(i, j) * delta(j, k) - delta(i, k) * delta(j, k),
    "power of a delta": over(delta(i, j) ** 3 * x[j], j) - x[i],
    "delta in a function": f(over(delta(i, j) * x[j], j)) - f(x[i]),
    "delta in an exponent": over(a**j * delta(i, j), j) - a**i,
    "delta makes a bracket vanish": over(delta(i, j) * (x[i] - x[j]) * z[j], j),
    "empty sum": over(x[j], i, j) - S * over(x[j], j),
    "empty sum over a composite size": Sum(x[i], (j, 1, S + 1)) - (S + 1) * x[i],
    "positive factor under a root": sqrt(over(c**2 * x[j] ** 2, j)) - c * sqrt(over(x[j] ** 2, j)),
    "denominators": 1 / sqrt(over(x[j], j)) - sqrt(over(x[k], k)) / over(x[i], i),
    "expansion": (over(x[i], i) + a) ** 2 - over(x[i] * x[j], i, j) - 2 * a * over(x[j], j) - a**2,
    "argument": f(a * over(x[i] + z[i], i)) - f(a * over(z[j], j) + over(a * x[k], k)),
    "symbolic exponent": (over(x[i], i) + 1) ** (m + 1) - (over(x[i], i) + 1) ** m * (over(x[j], j) + 1),
    "fraction": Rational(1, 2) * over(x[i] + x[j], i, j) - S * over(x[i], i),
    "an unknown function": Function("q")(over(x[j], j)) - Function("q")(over(x[i], i)),
}


@pytest.mark.parametrize("expr", ZERO.values(), ids=ZERO)
def test_equals_in_other_words_are_recognised(expr):
    assert expr != 0
    assert is_zero(expr, RANGES)


REFUSED = {
    "a delta of two ranges": (over(delta(i, J) * x[i], i), ValueError, "different ranges"),
    "a delta between bound indices of two ranges": (over(delta(i, J) * x[i] * z[J], i, J), ValueError, "different ranges"),
    "a delta with an index of unknown range": (over(delta(sp.Symbol("q"), j) * x[j], j), ValueError, "known"),
    "a delta with a shifted index": (over(delta(i + 1, j) * x[j], j), ValueError, "known"),
    "a delta with a number": (over(delta(1, j) * x[j], j), ValueError, "known"),
    "a triangular sum": (Sum(x[j], (j, 1, i), (i, 1, S)), ValueError, "depends on another index"),
    "a nested triangular sum": (Sum(Sum(x[j], (j, 1, i)), (i, 1, S)), ValueError, "depends on another index"),
    "a sum up to a free index": (Sum(x[j], (j, 1, i)), ValueError, "depends on another index"),
    "an index summed twice": (Sum(x[j], (j, 1, S), (j, 1, S)), ValueError, "summed twice"),
    "a sum from 0": (Sum(x[j], (j, 0, S)), ValueError, "lower limit 0"),
    "a size that may be negative": (Sum(x[j], (j, 1, S - 2)), ValueError, "no size"),
    "a floating-point number": (1.0 * x[i] + sp.Float("1e-30") - 1.0 * x[i], TypeError, "exact"),
    "infinity": (sp.oo * x[i], TypeError, "exact"),
    "a negative power of a delta": (delta(i, j) ** -1 * x[j], TypeError, "KroneckerDelta"),
    "a sum in an exponent": (a ** over(x[j], j), TypeError, "exponent"),
    "a power of what vanishes": (over(delta(i, j) / (x[i] - x[j]), j), ValueError, "vanishes|zoo"),
    "an integral": (sp.Integral(a, (a, 0, x[i])), TypeError, "Integral"),
}


@pytest.mark.parametrize(("expr", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_normal_form_cannot_hold_is_refused(expr, error, words):
    with pytest.raises(error, match=words):
        is_zero(expr, RANGES)


def test_sizes_of_one_name_are_kept_apart():
    other = sp.Symbol("S", integer=True, nonnegative=True)
    assert not is_zero(Sum(x[j], (j, 1, S)) - Sum(x[j], (j, 1, other)))
    assert not is_zero(Sum(x[j] * z[i], (j, 1, S), (i, 1, other)) - Sum(x[j] * z[i], (j, 1, other), (i, 1, S)))


def test_renaming_leaves_no_bound_name_behind():
    expr = over(x[i] * over(z[i], i), i)
    limits = [limit[0] for inner in rename_bound(expr).atoms(Sum) for limit in inner.limits]
    assert len(set(limits)) == 2 and i not in limits


class Chance:
    """Random indexed expressions, and the same ones in other words."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    def expression(self) -> sp.Expr:
        return sp.Add(*[self.term((i, I), 2) for _ in range(self.rng.randint(1, 2))])

    def term(self, free: tuple, depth: int) -> sp.Expr:
        s, t = sp.Dummy("s", integer=True, positive=True), sp.Dummy("t", integer=True, positive=True)
        limits = self.rng.sample([(s, 1, S), (t, 1, C)], self.rng.randint(1, 2))
        inner = (*free, *[limit[0] for limit in limits])
        tokens = [index for index in inner if index in (i, s) or str(index) == "_s"]
        channels = [index for index in inner if index not in tokens]
        body = sp.Mul(*[self.factor(tokens, channels, inner, depth) for _ in range(self.rng.randint(1, 3))])
        return self.rng.choice([1, -1, 2, Rational(1, 3), a]) * Sum(body, *limits)

    def factor(self, tokens: list, channels: list, free: tuple, depth: int) -> sp.Expr:
        s, t = self.rng.choice(tokens), self.rng.choice(channels)
        kind = self.rng.randrange(8 if depth else 5)
        if kind == 5:
            return f(self.term(free, depth - 1))
        if kind == 6:
            return (self.term((i, I), 0) ** 2 + c) ** self.rng.choice([Rational(1, 2), Rational(-1, 2), -1, 2])
        if kind == 7:
            return self.term(free, depth - 1)
        return [x[s], z[t], w[s, t], x[s] + a * x[self.rng.choice(tokens)], a**s][kind]

    def reword(self, expr: sp.Expr) -> sp.Expr:
        if isinstance(expr, Sum):
            return self.reword_sum(expr)
        if isinstance(expr, sp.Indexed) and expr.base == x and self.rng.random() < 0.3:
            u = sp.Dummy("u", integer=True, positive=True)
            return Sum(delta(expr.indices[0], u) * x[u], (u, 1, S))
        return expr if not expr.args or isinstance(expr, sp.Indexed) else expr.func(*[self.reword(argument) for argument in expr.args])

    def reword_sum(self, expr: Sum) -> sp.Expr:
        fresh = {limit[0]: sp.Dummy("v", integer=True, positive=True) for limit in expr.limits}
        body = self.reword(expr.function).xreplace(fresh)
        limits = [(fresh[limit[0]], *limit[1:]) for limit in expr.limits]
        self.rng.shuffle(limits)
        if self.rng.random() < 0.3:
            body = sp.expand(body, power_exp=False, power_base=False)
        if self.rng.random() < 0.5:
            for limit in limits:
                body = Sum(body, limit)
            return body
        return Sum(body, *limits)


def values(expr: sp.Expr):
    with mpmath.workdps(40):
        for sizes, at in (({S: 2, C: 3}, {i: 2, I: 3}), ({S: 3, C: 1}, {i: 1, I: 1}), ({S: 1, C: 2}, {i: 1, I: 2})):
            yield Numbers(sizes, "point").value(expr, at)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_random_expressions_equal_themselves_in_other_words(seed):
    chance = Chance(seed)
    expr = chance.expression()
    other = chance.reword(expr)
    assert is_zero(expr - other, RANGES)
    for left, right in zip(values(expr), values(other), strict=True):
        assert abs(left - right) <= mpmath.mpf(10) ** -25 * max(1, abs(left))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_random_changes_are_never_called_zero_wrongly(seed):
    chance = Chance(seed)
    expr = chance.expression()
    changes = list(mutants(Eq(L, chance.reword(expr))))
    for _, changed in chance.rng.sample(changes, min(2, len(changes))):
        same = all(abs(u - v) < mpmath.mpf(10) ** -25 * max(1, abs(u)) for u, v in zip(values(expr), values(changed.rhs), strict=True))
        try:
            claimed = is_zero(expr - changed.rhs, RANGES)
        except (TypeError, ValueError):
            continue
        assert claimed <= same


def test_a_normal_form_has_one_term_for_each_that_differs():
    assert len(normal_form(over(x[i], i) + over(x[j], j) + a)) == 2
