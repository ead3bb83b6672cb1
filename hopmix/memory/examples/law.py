"""The overlap with a pattern after one step of a memory that was taught with examples (page: book/memory/examples.md)."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import comb, erf, poch
from scipy.stats import binom

from hopmix.arguments import choice, number, size
from hopmix.memory.examples.hebbian import check_quality

_METHODS = ("finite", "binomial", "closed")
_BERRY_ESSEEN = 0.4748  # for sums of independent terms of one law: shevtsova2011absolute
_NODES, _WEIGHTS = hermegauss(40)
_WEIGHTS = _WEIGHTS / math.sqrt(2 * math.pi)


def relative_noise(examples: int, quality: float) -> float:
    """rho = (1 - r^2) / (M r^2): the variance of a mean of M examples of quality r, in units of its squared mean."""
    r = check_quality(quality)
    return (1 - r * r) / (size("examples", examples) * r * r)


def signal_variance(neurons: int, examples: int, quality: float, degree: int, start: float = 1.0) -> float:
    """Variance of the pattern's own contribution to a field, over its squared mean: exact, from pairs of sets of degree - 1 neurons.

    Two sets that share k neurons have the correlation ((1 + rho) / start^2)^k. Raises as ``one_step_overlap`` does.
    """
    others, p = size("neurons", neurons) - 1, size("degree", degree, least=2) - 1
    ratio = (1 + relative_noise(examples, quality)) / number("start", start, "positive") ** 2
    shared = np.arange(p + 1)
    pairs = comb(p, shared) * comb(others - p, p - shared) / comb(others, p)  # a distribution over the number of shared neurons
    return float(pairs @ (ratio**shared - 1))


def one_step_overlap(
    neurons: int, patterns: int, examples: int, quality: float, degree: int, start: float = 1.0, method: str = "finite"
) -> float:
    """Mean overlap with a pattern after one step of an ``ExampleMemory``, from a state whose own overlap is ``start``.

    The state is to agree with the pattern at independent neurons, and not to depend on the examples: the pattern itself, or a new
    example (start = quality). The crosstalk is normal in all methods.

    method : "finite" keeps the law of a mean of examples at the neuron and the exact variances of crosstalk and signal, the latter
        taken as normal; "binomial" has a fixed signal, N^(P-1) for (N-1)...(N-P+1) and K for K - 1; "closed" also takes a normal variable for the mean: erf(1 / sqrt(2 [rho +
        K (P-1)! (1+rho)^P / (N^(P-1) start^(2P-2))])).
    Derived on the page. Raises TypeError and ValueError, naming the argument.
    """
    choice("method", method, _METHODS)
    n, k, count, p = size("neurons", neurons), size("patterns", patterns), size("examples", examples), size("degree", degree, least=2)
    r, begin = check_quality(quality), number("start", start, "positive")
    if p > n or begin > 1:
        raise ValueError(f"degree must be at most neurons, and start at most 1, got {degree!r}, {neurons!r} and {start!r}")
    rho = relative_noise(count, r)
    sets = poch(n - p + 1, p - 1) if method == "finite" else float(n) ** (p - 1)
    others = k - 1 if method == "finite" else k
    # Variance of the crosstalk over the squared mean of the signal.
    crosstalk = others * math.factorial(p - 1) * (1 + rho) ** p / (sets * begin ** (2 * p - 2))
    if method == "closed":
        return float(erf(1 / math.sqrt(2 * (rho + crosstalk))))
    kept = np.arange(count + 1)
    mean = (2 * kept / count - 1) / r
    signal = mean[:, None]
    if method == "finite":
        signal = signal * (1 + math.sqrt(signal_variance(n, count, r, p, begin)) * _NODES)
    signs = np.sign(signal) if crosstalk == 0 else erf(signal / math.sqrt(2 * crosstalk))
    return float(binom.pmf(kept, count, (1 + r) / 2) @ (signs @ _WEIGHTS if method == "finite" else signs[:, 0]))


def normal_error_bound(examples: int, quality: float) -> float:
    """How much "closed" and "binomial" can differ: Berry and Esseen's inequality, 2 * 0.4748 (1 + r^2) / sqrt(M (1 - r^2)).

    Raises as ``relative_noise`` does, and ValueError for quality 1, where there is no noise.
    """
    r = check_quality(quality)
    if r == 1:
        raise ValueError(f"quality must be below 1, got {quality!r}")
    return 2 * _BERRY_ESSEEN * (1 + r * r) / math.sqrt(size("examples", examples) * (1 - r * r))
