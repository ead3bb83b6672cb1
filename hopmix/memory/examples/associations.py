"""Associations between Zipf-distributed inputs and outputs: errors of little data and of small models (page: book/memory/examples.md)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import gamma, ndtr, zeta

from hopmix.arguments import choice, generator, number, size

VOCABULARY = 10**6  # inputs that are summed one by one; the rest by zeta functions
STORING = ("threshold", "frequency", "root")
_NODES, _WEIGHTS = hermegauss(96)
_WEIGHTS = _WEIGHTS / math.sqrt(2 * math.pi)


def _exponent(alpha: object) -> float:
    plain = number("alpha", alpha)
    if plain <= 1:
        raise ValueError(f"alpha must be above 1, or the probabilities have no finite sum, got {alpha!r}")
    return plain


def zipf(alpha: float, vocabulary: int) -> tuple[np.ndarray, float]:
    """p(x) = x^-alpha / zeta(alpha) for x = 1 ... vocabulary, and the probability of all later x. Raises ValueError for alpha <= 1."""
    alpha = _exponent(alpha)
    x = np.arange(1, size("vocabulary", vocabulary) + 1, dtype=np.float64)
    return x**-alpha / zeta(alpha), float(zeta(alpha, vocabulary + 1.0) / zeta(alpha))


def unseen_mass(samples: int, alpha: float, method: str = "exact") -> float:
    """Probability that the next input is none of the ``samples`` seen so far: sum over x of p (1 - p)^T.

    method : "exact" sums a million inputs, and the rest by the binomial series in zeta functions; "asymptotic" is
        (T / c)^(1/alpha) c Gamma(1 - 1/alpha) / (alpha T) with c = 1 / zeta(alpha). Derived on the page; cabannes2024scaling.
    Raises ValueError for another method, alpha <= 1, or more samples than a million inputs serve (T p(10^6) > 0.1).
    """
    count, alpha = size("samples", samples), _exponent(alpha)
    c = 1 / zeta(alpha)
    if choice("method", method, ("exact", "asymptotic")) == "asymptotic":
        return float(c ** (1 / alpha) * gamma(1 - 1 / alpha) / alpha * count ** (1 / alpha - 1))
    if count * c * float(VOCABULARY) ** -alpha > 0.1:
        raise ValueError(f"samples: {samples!r} are too many for a sum over {VOCABULARY} inputs at alpha = {alpha:g}")
    p, _ = zipf(alpha, VOCABULARY)
    rest, factor = 0.0, c
    for k in range(12):
        rest += factor * zeta(alpha * (k + 1), VOCABULARY + 1.0)
        factor *= -c * (count - k) / (k + 1)
    return float(p @ np.exp(count * np.log1p(-p)) + rest)


def measured_unseen(samples: tuple[int, ...], alpha: float, seed: int | torch.Generator = 0) -> np.ndarray:
    """The probability of all inputs not among the first T of one series of draws, for each T of ``samples``, in rising order.

    Draws beyond the first million inputs are counted as unseen; together they have less probability than 1e-7 of what is left.
    """
    counts = [size("samples", count) for count in samples]
    if counts != sorted(counts) or not counts:
        raise ValueError(f"samples must be in rising order, got {samples!r}")
    p, tail = zipf(alpha, VOCABULARY)
    uniform = torch.rand(counts[-1], generator=generator(seed), dtype=torch.float64).numpy()
    drawn = np.searchsorted(np.cumsum(p), uniform)
    inputs, first = np.unique(drawn, return_index=True)
    inputs, first = inputs[inputs < VOCABULARY], first[inputs < VOCABULARY]
    order = np.argsort(first)
    seen = np.concatenate([[0.0], np.cumsum(p[inputs[order]])])
    return 1 - seen[np.searchsorted(first[order], counts)]


def _sizes(dimension: object, outputs: object, vocabulary: object) -> tuple[int, int, int]:
    d, m, count = size("dimension", dimension), size("outputs", outputs, least=2), size("vocabulary", vocabulary)
    if d < 8 * m or count < d:
        raise ValueError(f"dimension must be from 8 * outputs to vocabulary, {8 * m} to {count}, got {dimension!r}")
    return d, m, count


def stored_weights(storing: str, alpha: float, dimension: int, vocabulary: int) -> np.ndarray:
    """q(x): "threshold" 1 for x <= dimension / 8, else 0; "frequency" p(x); "root" sqrt(p(x)): cabannes2024scaling."""
    p, _ = zipf(alpha, vocabulary)
    if choice("storing", storing, STORING) == "threshold":
        return (np.arange(1, vocabulary + 1) <= size("dimension", dimension) / 8).astype(np.float64)
    return p if storing == "frequency" else np.sqrt(p)


def predicted_exponent(storing: str, alpha: float) -> float:
    """The exponent in the dimension to which the error tends, derived on the page: -(alpha-1), -(alpha-1)/(2 alpha), -(alpha-1)/alpha."""
    alpha = _exponent(alpha)
    return -(alpha - 1) / {"threshold": 1, "frequency": 2 * alpha, "root": alpha}[choice("storing", storing, STORING)]


def association_error(dimension: int, alpha: float, storing: str, outputs: int = 4, vocabulary: int = 20000) -> float:
    """Expected error of W = sum_x q(x) u_f(x) e_x^T with f(x) = x mod outputs, its scores taken as independent normal variables.

    Inputs' embeddings are independent and uniform on the unit sphere, the answers' orthonormal. The score of answer y has the variance
    S_y / d, S_y the sum of q^2 over the other inputs with this answer. An input beyond the vocabulary is never stored and guessed at.
    Raises TypeError and ValueError, naming the argument; each answer needs an input that is stored, dimension >= 8 * outputs.
    """
    d, m, count = _sizes(dimension, outputs, vocabulary)
    p, tail = zipf(alpha, count)
    q = stored_weights(storing, alpha, d, count)
    # q falls off, so neighbours are alike: far out one input stands for a stretch of them.
    x = np.unique(np.concatenate([np.arange(1, min(count, 4000) + 1), np.geomspace(1, count, 4000).round().astype(int)]))
    own = x % m
    squares = np.bincount(np.arange(1, count + 1) % m, weights=q**2, minlength=m)
    left = np.repeat(squares[:, None], len(x), axis=1)  # (outputs, inputs)
    left[own, np.arange(len(x))] -= q[x - 1] ** 2
    mine = left[own, np.arange(len(x))]
    score = q[x - 1][:, None] + np.sqrt(mine / d)[:, None] * _NODES  # (inputs, nodes)
    wins = np.ones_like(score)
    for y in range(m):
        noise = np.sqrt(np.where(own == y, 1.0, left[y]) / d)  # no answer competes with itself
        wins *= np.where((own == y)[:, None], 1.0, ndtr(score / noise[:, None]))
    wrong = 1 - wins @ _WEIGHTS
    # A cell of the sum holds the inputs nearest to its representative.
    edges = np.concatenate([[0], (x[1:] + x[:-1]) // 2, [count]])
    mass = np.concatenate([[0.0], np.cumsum(p)])[edges]
    return float(wrong @ np.diff(mass) + tail * (1 - 1 / m))


def measured_association_error(
    dimension: int, alphas: tuple[float, ...], seed: int | torch.Generator = 0, outputs: int = 4, vocabulary: int = 20000, device: object = "cpu"
) -> dict[str, list[float]]:
    """The error of one drawn memory for each way of storing, and for each alpha: name -> (alphas). Conventions as ``association_error``."""
    d, m, count = _sizes(dimension, outputs, vocabulary)
    stream = generator(seed)
    inputs = torch.randn(count, d, generator=stream, dtype=torch.float64).to(device)
    inputs /= inputs.norm(dim=1, keepdim=True)
    answers = torch.linalg.qr(torch.randn(d, m, generator=stream, dtype=torch.float64)).Q.mT.to(device)  # (outputs, d), orthonormal
    truth = torch.arange(1, count + 1, device=device) % m
    found: dict[str, list[float]] = {storing: [] for storing in STORING}
    for alpha in alphas:
        p, tail = zipf(alpha, count)
        for storing in STORING:
            q = torch.from_numpy(stored_weights(storing, alpha, d, count)).to(inputs)
            sums = torch.zeros_like(answers).index_add_(0, truth, q[:, None] * inputs)  # (outputs, d)
            matrix = answers.mT @ sums  # W, (d, d)
            scores = inputs @ (answers @ matrix).mT  # (inputs, outputs)
            wrong = (scores.argmax(1) != truth).cpu().to(torch.float64)
            found[storing].append(float(wrong @ torch.from_numpy(p)) + tail * (1 - 1 / m))
    return found
