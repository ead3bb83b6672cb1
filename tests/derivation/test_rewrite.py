"""Equations as rewrite rules, and the time derivatives that come of them."""

import pytest
import sympy as sp
from sympy import Derivative, Eq, IndexedBase, Sum, symbols

from hopmix.derivation import Rate, function_with_derivative
from hopmix.derivation.indexed import is_zero
from hopmix.derivation.rate import expand_rates
from hopmix.derivation.rewrite import Rule, rewrite

S = symbols("S", integer=True, positive=True)
i, j, ell = symbols("i j ell", integer=True, positive=True)
x, y, w = IndexedBase("x"), IndexedBase("y"), IndexedBase("w")
E, a = symbols("E a", real=True)
f, f_prime = function_with_derivative("f", "f'")
INDICES = frozenset({i, j, ell})


def rule(left, right) -> Rule:
    return Rule.from_equation(Eq(left, right), INDICES)


def total(body, *indices):
    return Sum(body, *[(index, 1, S) for index in indices])


def test_index_variables_match_any_index():
    assert rule(y[i], a * x[i]).apply(y[j] + y[3]) == a * x[j] + a * x[3]
    assert rule(w[i, i], x[i]).apply(w[j, j] + w[i, j]) == x[j] + w[i, j]
    assert rule(x[ell + 1], y[ell]).apply(x[ell + 1] + x[ell]) == y[ell] + x[ell]


def test_a_coefficient_is_divided_out():
    assert rule(a * Rate(x[i]), y[i]).apply(Rate(x[j])) == y[j] / a


@pytest.mark.parametrize(
    ("composite", "expanded"),
    [
        (x[i] ** 2, 2 * x[i] * Rate(x[i])),
        (a * x[i] * y[i], a * x[i] * Rate(y[i]) + a * y[i] * Rate(x[i])),
        (f(x[i]), f_prime(x[i]) * Rate(x[i])),
        (E * x[i], E * Rate(x[i]) + x[i] * Rate(E)),
        (w[i, j] + a, 0),
        (total(w[i, j] * x[j], j), total(w[i, j] * Rate(x[j]), j)),
    ],
    ids=str,
)
def test_rates_follow_the_rules_of_calculus(composite, expanded):
    assert is_zero(expand_rates(Rate(composite), frozenset({x, y, E})) - expanded)


def test_rates_of_entries_wait():
    assert expand_rates(Rate(x[i]) + Rate(E), frozenset({x, E})) == Rate(x[i]) + Rate(E)


def test_derivatives_are_carried_out_after_the_rules_and_only_if_asked():
    expr, rules = Derivative(E, x[i]), (rule(E, total(x[j] ** 2, j)),)
    assert is_zero(rewrite(expr, rules, frozenset()) - 2 * x[i], {i: S})
    left = rewrite(expr, rules, frozenset(), differentiate=False)
    assert isinstance(left, Derivative) and left.variables == (x[i],) and isinstance(left.expr, Sum)
    assert rewrite(expr, (), frozenset()) == expr
