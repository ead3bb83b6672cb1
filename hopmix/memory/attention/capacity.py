"""How many patterns a memory holds: dense energies of binary neurons, attention on the sphere (page: book/memory/attention.md)."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from scipy.optimize import brentq
from scipy.special import factorial2, gammaln, ive, ndtr, ndtri
from scipy.stats import binom

from hopmix.arguments import choice, number, size

_METHODS = ("exact", "gaussian", "asymptotic")
# From so many patterns on only the peak of the characteristic function at the origin counts: elsewhere its power vanishes.
_MANY = 200
_CHUNK = 512
_MOST_EXPONENTIAL = 1000
_MOST_TERMS = 10**8  # sines in one integral: some seconds


def crosstalk(neurons: int, degree: int | None) -> tuple[np.ndarray, np.ndarray]:
    """What one other random pattern adds to a neuron's field, up to its sign: values and their probabilities, (neurons,) each.

    The pattern's overlap with the state on the other neurons is a sum of neurons - 1 fair signs; its value is F(overlap + 1) -
    F(overlap - 1), the stored pattern's own is the last. degree as in ``DenseMemory``, None for the exponential energy.
    Raises ValueError for what is no size.
    """
    others = size("neurons", neurons, least=2) - 1
    agreeing = np.arange(others + 1)
    overlap = (2 * agreeing - others).astype(np.float64)
    if degree is None:
        if neurons > _MOST_EXPONENTIAL:
            raise ValueError(f"neurons must be at most {_MOST_EXPONENTIAL} for the exponential energy, whose numbers float64 does not hold beyond, got {neurons}")
        values = np.exp(overlap + 1 - neurons) - np.exp(overlap - 1 - neurons)
    else:
        degree = size("degree", degree, least=2)
        if others and degree * math.log(neurons) > 340:
            raise ValueError(f"degree: the square of {neurons}**{degree} is more than float64 holds; allowed here: at most {int(340 / math.log(neurons))}")
        values = (overlap + 1) ** degree - (overlap - 1) ** degree
    return values, binom.pmf(agreeing, others, 0.5)


def one_step_error(neurons: int, patterns: float, degree: int | None, method: str = "exact") -> float:
    """Probability that a neuron of a stored random pattern leaves it in one step; ties count one half.

    method : "exact" sums the independent contributions of the other patterns by their characteristic function; "gaussian" replaces
        their sum by a normal variable of the exact variance; "asymptotic" is Q(sqrt(N^(n-1) / (K (2n-3)!!))) with N neurons, K
        patterns and degree n, for the exponential energy Q(sqrt((e^2 / cosh 2)^(N-1) / K)): krotov2016dense, derived on the page.
    patterns : their number, at least 2; between whole numbers the law is interpolated. For the exponential energy "exact" begins at 200.

    Raises ValueError for another method, fewer patterns, what is no size, and where errors are so rare that the exact law's integral takes
    more than 10**8 terms.
    """
    choice("method", method, _METHODS)
    values, weights = crosstalk(neurons, degree)
    count = number("patterns", patterns)
    if count < 2:
        raise ValueError(f"patterns must be 2 or more, got {patterns!r}")
    if method == "exact":
        if degree is None and count < _MANY:
            raise ValueError(f"patterns must be {_MANY} or more for the exact law of the exponential energy, got {patterns!r}")
        return _exact_error(values, weights, count, lattice=degree is not None)
    if method == "gaussian":
        return float(ndtr(-values[-1] / math.sqrt((count - 1) * float(weights @ values**2))))
    if degree is None:
        return float(ndtr(-math.exp(((neurons - 1) * (2 - math.log(math.cosh(2))) - math.log(count)) / 2)))
    return float(ndtr(-math.sqrt(neurons ** (degree - 1) / (count * factorial2(2 * degree - 3)))))


def _exact_error(values: np.ndarray, weights: np.ndarray, count: float, lattice: bool) -> float:
    """P(S + X < 0) + P(S + X = 0) / 2 for X a sum of count - 1 values with random signs, by Gil-Pelaez's formula."""
    terms, signal = count - 1, float(values[-1])
    deviation = math.sqrt(terms * float(weights @ values**2))
    # Aliasing costs the probability beyond the reach; a sum that is bounded by the reach has none.
    reach = min(10 * signal + 20 * deviation, 2.1 * (signal + terms * np.abs(values).max()))
    step, end, span, odd = 2 * math.pi / reach, math.inf, 0, False
    if lattice:
        whole = [int(value) for value in values]
        span = math.gcd(*(value - whole[0] for value in whole), 2 * whole[0])
        odd = whole[0] % span != 0 and round(count) % 2 == 1
        points = math.ceil(math.pi / span / step)
        _check_cost(points * len(values) if count < _MANY else 0, count, len(values))
        step, end = math.pi / span / points, points
    integral, first = 0.0, 0
    while first < end:
        _check_cost(first * len(values), count, len(values))
        t = (np.arange(first, min(first + _CHUNK, end)) + 0.5) * step
        # 1 - phi, without cancellation where the number of patterns is astronomic.
        defect = 2 * np.sin(np.multiply.outer(t, values) / 2) ** 2 @ weights
        with np.errstate(divide="ignore"):
            modulus = np.exp(terms * np.where(defect <= 1, np.log1p(-np.minimum(defect, 1)), np.log(np.abs(1 - defect))))
        power = np.where((defect > 1) & (round(terms) % 2 == 1), -modulus, modulus)
        half = t * span / 2
        kernel = 1 / t if not lattice else span / 2 / (np.sin(half) if odd else np.tan(half))
        integral += step * float((power * np.sin(t * signal) * kernel).sum())
        first += _CHUNK
        if count >= _MANY and modulus.max() < 1e-17:
            break
    return max(0.5 - integral / math.pi, 0.0)


def _check_cost(terms: int, count: float, neurons: int) -> None:
    if terms > _MOST_TERMS:
        raise ValueError(f"patterns: {count:g} at {neurons} neurons err too rarely for the exact law, whose integral takes more than {_MOST_TERMS} terms; use method 'gaussian'")


def enumerated_error(neurons: int, patterns: int, degree: int) -> float:
    """``one_step_error`` by listing every sum that the other patterns can make: for a handful of patterns, to check the law by."""
    values, weights = crosstalk(neurons, size("degree", degree, least=2))
    sums = {0: 1.0}
    for _ in range(size("patterns", patterns) - 1):
        following: dict[int, float] = {}
        for (total, chance), (value, weight), sign in product(sums.items(), zip(values, weights, strict=True), (1, -1)):
            key = total + sign * int(value)
            following[key] = following.get(key, 0.0) + chance * weight / 2
        sums = following
    signal = int(values[-1])
    return sum(chance * ((signal + total < 0) + (signal + total == 0) / 2) for total, chance in sums.items())


def critical_patterns(neurons: int, degree: int | None, error: float = 0.01, method: str = "exact") -> float:
    """The number of patterns at which ``one_step_error`` reaches ``error``: a real number from 2 on (exponential: 200).

    Raises ValueError for an error outside (0, 0.5), and where that few patterns exceed it already.
    """
    error = number("error", error, "positive")
    if error >= 0.5:
        raise ValueError(f"error must be below 0.5, got {error!r}")

    values, weights = crosstalk(neurons, degree)
    least = 2 if degree is not None else _MANY
    # The normal approximation's own answer, where the search begins: far below it the exact law has a costly integral.
    guess = 1 + (values[-1] / float(ndtri(error))) ** 2 / float(weights @ values**2)
    if method == "gaussian" and guess >= least:
        return guess

    def excess(log_patterns: float) -> float:
        return math.log(max(one_step_error(neurons, math.exp(log_patterns), degree, method), 1e-300) / error)

    bottom = math.log(least) + 1e-9
    low = high = max(math.log(guess), bottom)
    while excess(low) > 0:
        if low == bottom:
            raise ValueError(f"neurons: with {neurons} of them, {least} patterns are too many already for an error of {error}")
        low = max(low - 0.3, bottom)
    while excess(high) < 0:
        high += 0.3
    return math.exp(brentq(excess, low, high, xtol=1e-10)) if low < high else math.exp(low)


def dominant_overlap(kappa: float) -> float:
    """t_*: the overlap at which random patterns on the sphere contribute most; kappa = beta M^2 / N > 0, derived on the page."""
    kappa = number("kappa", kappa, "positive")
    return 2 * kappa / (math.hypot(1, 2 * kappa) + 1)


def sphere_capacity(kappa: float) -> float:
    """alpha_c in K = exp(alpha_c N): kappa (1 - t_*) - log(1 - t_*^2) / 2, derived on the page; kappa as above."""
    t = dominant_overlap(kappa)
    # 1 - t^2 = t / kappa, which loses no digits where t is close to 1.
    return t / (1 + t) + (math.log(kappa / t) if t > 0.5 else -math.log1p(-t * t)) / 2


def sphere_patterns(neurons: int, kappa: float, method: str = "exact") -> float:
    """The mean number of patterns, uniform on a sphere, up to which the softmax weight of one of them at itself exceeds 1/2.

    method : "exact" is the mean first passage of the sum of the others' weights with its overshoot, s/m + v/(2 m^2) (m, v: mean and
        mean square of one weight, by Bessel functions); "asymptotic" is sqrt(1 - t_*^4) exp(alpha_c N).
    Raises ValueError for another method, fewer than 2 neurons, kappa that is not positive, or a number that float64 does not hold.
    """
    neurons, kappa = size("neurons", neurons, least=2), number("kappa", kappa, "positive")
    if (logarithm := sphere_capacity(kappa) * neurons) > 700:
        raise ValueError(f"neurons: {neurons} of them at kappa {kappa:g} hold about exp({logarithm:.0f}) patterns, more than float64; use sphere_capacity")
    if choice("method", method, ("exact", "asymptotic")) == "asymptotic":
        return math.sqrt(1 - dominant_overlap(kappa) ** 4) * math.exp(sphere_capacity(kappa) * neurons)
    first, second = (_log_sphere_mean(neurons, factor * kappa * neurons) for factor in (1, 2))
    return math.exp(kappa * neurons - first) + math.exp(second - 2 * first) / 2


def _log_sphere_mean(neurons: int, z: float) -> float:
    """log of the mean of exp(z t) for t one coordinate of a uniform unit vector."""
    order = neurons / 2 - 1
    return float(gammaln(neurons / 2) + order * math.log(2 / z) + np.log(ive(order, z)) + z)
