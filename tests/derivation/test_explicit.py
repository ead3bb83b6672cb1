"""Entries written out and numbers put in: sums, deltas, derivatives and functions against loops and closed forms."""

import mpmath
import pytest
import sympy as sp
from sympy import Derivative, Function, IndexedBase, KroneckerDelta, Rational, Sum, symbols

from hopmix.derivation import Rate, function_with_derivative
from hopmix.derivation.explicit import Numbers, write_out

S, C = symbols("S C", integer=True, positive=True)
i, j, I = symbols("i j I", integer=True, positive=True)
x, w = IndexedBase("x"), IndexedBase("w")
L, u, t = symbols("L u t", real=True)
f, f_prime = function_with_derivative("f", "f'")
SIZES = {S: 3, C: 2}


@pytest.fixture
def point():
    with mpmath.workdps(50):
        yield Numbers(SIZES, "point")


def entry(point, *indices):
    return point.value(w[indices])


def test_sums_are_loops(point):
    expr = Sum(w[i, I] * Sum(x[j] * KroneckerDelta(i, j), (j, 1, S)), (i, 1, S), (I, 1, C)) / S
    by_hand = sum(entry(point, a, b) * point.value(x[a]) for a in (1, 2, 3) for b in (1, 2)) / 3
    assert abs(point.value(expr) - by_hand) < mpmath.mpf(10) ** -45


def test_free_indices_take_their_values(point):
    assert point.value(w[i, I + 1], {i: 2, I: 1}) == entry(point, 2, 2)
    assert point.value(Sum(x[i], (i, 1, i * 0 + S)) + i, {i: 2}) == sum(point.value(x[a]) for a in (1, 2, 3)) + 2


def test_an_entry_has_one_number_whatever_is_asked_first():
    one, two = Numbers(SIZES, "a"), Numbers(SIZES, "a")
    first = [one.value(x[1]), one.value(x[2])]
    assert [two.value(x[2]), two.value(x[1])] == first[::-1]
    assert Numbers(SIZES, "b").value(x[1]) != first[0]
    assert first[0] != first[1] and all(0.3 <= number <= 1.7 for number in first)


def test_derivatives_are_those_of_calculus(point):
    expr = sp.exp(x[1] * x[2]) * sp.sqrt(Sum(x[i] ** 2, (i, 1, S)))
    for variables in ((x[1],), (x[1], x[2]), (x[3], x[3])):
        symbolic = sp.diff(write_out(expr, SIZES), *[write_out(v, SIZES) for v in variables])
        with mpmath.workdps(50):
            exact = sp.lambdify(sorted(symbolic.free_symbols, key=str), symbolic, "mpmath")(*[point.value(x[k]) for k in (1, 2, 3)])
            assert abs(point.value(Derivative(expr, *variables)) - exact) < mpmath.mpf(10) ** -35


def test_a_derivative_by_an_entry_depends_on_which(point):
    slope = Derivative(Sum(x[j] ** 2, (j, 1, S)), x[i])
    for k in (1, 2, 3):
        assert abs(point.value(slope, {i: k}) - 2 * point.value(x[k])) < mpmath.mpf(10) ** -40
    bare = Derivative(L, x[i])
    assert point.value(bare, {i: 1}) != point.value(bare, {i: 2})


def test_functions_and_constants(point):
    number = point.value(u)
    assert abs(point.value(sp.erf(u) + sp.pi * sp.E + Rational(1, 3)) - (mpmath.erf(number) + mpmath.pi * mpmath.e + mpmath.mpf(1) / 3)) < mpmath.mpf(10) ** -45
    assert abs(point.value(f(u)) - (mpmath.log(mpmath.cosh(number)) + number**3 / 7)) < mpmath.mpf(10) ** -45
    assert abs(point.value(Derivative(f(u), u)) - point.value(f_prime(u))) < mpmath.mpf(10) ** -40
    assert point.value(sp.sqrt(-1 - u**2)).imag > 0
    assert abs(point.value(sp.I * u) - 1j * number) < 1e-40


def test_functions_know_their_derivatives():
    assert sp.diff(f(u**2), u) == 2 * u * f_prime(u**2)
    with pytest.raises(ValueError, match="f': its derivative has no name"):
        sp.diff(f_prime(u), u)


def test_what_is_not_defined_is_not_a_number(point):
    assert mpmath.isnan(point.value(1 / (Sum(x[i], (i, 1, S)) - Sum(x[j], (j, 1, S)))))
    assert mpmath.isnan(point.value(sp.zoo * u))


@pytest.mark.parametrize(
    ("expr", "error", "words"),
    [
        (Function("q")(u), TypeError, "no number is known"),
        (sp.Limit(u, u, 0), TypeError, "no number is known"),
        (Rate(u * x[1]), TypeError, "neither a symbol nor an entry"),
        (x[t], ValueError, "no whole number"),
        (Sum(x[i], (i, 1, sp.Symbol("M", integer=True, positive=True))), ValueError, "no whole number"),
    ],
)
def test_what_has_no_number_is_an_error(point, expr, error, words):
    with pytest.raises(error, match=words):
        point.value(expr)


def test_entries_are_written_out_as_symbols_of_their_own():
    written = write_out(Sum(w[i, I] * x[i], (i, 1, S)), SIZES, {I: 2})
    assert {symbol.name for symbol in written.free_symbols} == {"w[1, 2]", "w[2, 2]", "w[3, 2]", "x[1]", "x[2]", "x[3]"}
    assert write_out(Derivative(Sum(x[i] ** 3, (i, 1, S)), x[j]), SIZES, {j: 2}) == 3 * write_out(x[2], SIZES) ** 2
    assert write_out(Rate(x[i]), SIZES, {i: 1}) != write_out(Rate(x[i]), SIZES, {i: 2})
    assert write_out(Derivative(L, x[i]), SIZES, {i: 1}) != write_out(Derivative(L, x[i]), SIZES, {i: 2})


def test_a_size_that_is_missing_is_named():
    with pytest.raises(ValueError, match="sizes: C is not given"):
        write_out(Sum(w[1, I], (I, 1, C)), {S: 2})
