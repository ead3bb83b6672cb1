"""What the chapter claims, measured (page: book/memory/examples.md)."""

from __future__ import annotations

import math
from functools import cache
from itertools import permutations, product

import numpy as np
import torch
from scipy.special import ndtr
from scipy.stats import binom

from hopmix.claim import Evidence, claim
from hopmix.memory.attention import dense_memory, random_patterns
from hopmix.memory.examples.associations import (
    STORING,
    association_error,
    measured_association_error,
    measured_unseen,
    predicted_exponent,
    unseen_mass,
)
from hopmix.memory.examples.experiment import fitted_exponent, measured_overlap
from hopmix.memory.examples.hebbian import ExampleMemory, example_memory, noisy_examples
from hopmix.memory.examples.law import normal_error_bound, one_step_overlap, relative_noise, signal_variance

SEEDS = tuple(range(16))
_ALPHAS = (1.5, 2.0)
# neurons, patterns, examples, quality, degree: all with an odd number of examples, so that no mean example is zero.
_MEMORIES = ((200, 20, 5, 0.5, 2), (200, 20, 81, 0.2, 2), (100, 500, 9, 0.5, 3), (100, 500, 41, 0.5, 3), (40, 1000, 21, 0.5, 4))
_DIMENSIONS, _VOCABULARY = (32, 64, 128, 256), 5000


def _error(samples: np.ndarray) -> np.ndarray:
    return samples.std(0, ddof=1) / math.sqrt(len(samples))


@claim(
    statement="The field is the sum over all sets of $P-1$ other neurons; for single examples and $P=2$ the memory is the dense memory of degree two.",
    source="agliari2023dense; this book", kind="identity",
)
def field_is_the_sum_over_sets() -> Evidence:
    worst, wrong = 0.0, 0
    for seed, degree in product(SEEDS, (2, 3, 4, 5)):
        patterns = random_patterns(4, 6, seed)
        examples = noisy_examples(patterns, 3, 0.5, seed)
        state = random_patterns(2, 6, 100 + seed)
        means, found = examples.mean(1), example_memory(examples, degree).field(state)
        for i in range(6):
            # Each set appears once for every order.
            tuples = permutations([n for n in range(6) if n != i], degree - 1)
            listed = sum((means[:, list(c)].prod(1) * state[:, None, list(c)].prod(2)) for c in tuples) @ means[:, i] / math.factorial(degree - 1)
            worst = max(worst, float((listed - found[:, i]).abs().max()))
        single = noisy_examples(random_patterns(5, 21, seed), 1, 0.5, seed)
        start = random_patterns(4, 21, seed)
        wrong += int((example_memory(single, 2).step(start) != dense_memory(single[:, 0], 2).step(start)).sum())
    return Evidence.at_most("largest difference to listing all sets, and neurons that differ from the dense memory", max(worst, float(wrong)), 1e-13, seeds=SEEDS)


@claim(
    statement=r"The mean example over $r$ has the mean square $1+\rho$, and another pattern's sum over ordered sets the mean square $(P-1)!\,R^{P-1}$ times $(N-1)\cdots(N-P+1)$.",
    source="agliari2023dense; this book", kind="identity",
)
def moments_by_enumeration() -> Evidence:
    worst, neurons = 0.0, 5
    for count, r, degree in product((1, 2), (0.3, 0.8), (2, 3, 4)):
        kept = np.arange(count + 1)
        value, chance = 2 * kept / count - 1, binom.pmf(kept, count, (1 + r) / 2)
        worst = max(worst, abs(chance @ value**2 / r**2 - 1 - relative_noise(count, r)))
        # Another pattern's sign is fair: every value of the mean example has its mirror image.
        values, chances = np.concatenate([value, -value]), np.concatenate([chance, chance]) / 2
        listed = torch.tensor(list(product(values, repeat=neurons - 1)), dtype=torch.float64)
        weights = np.array([math.prod(c) for c in product(chances, repeat=neurons - 1)])
        one = ExampleMemory(torch.cat([listed.new_ones(1, 1), listed.new_ones(1, neurons - 1)], 1), degree)
        # The field at the first neuron of a memory of ones is the symmetric polynomial of the state.
        sums = math.factorial(degree - 1) * one.field(torch.cat([listed.new_ones(len(listed), 1), listed], 1))[:, 0].numpy()
        mean_square = r**2 + (1 - r**2) / count
        expected = math.factorial(degree - 1) * math.prod(range(neurons - degree + 1, neurons)) * mean_square ** (degree - 1)
        worst = max(worst, abs(weights @ sums**2 / expected - 1), abs(weights @ sums))
        signal = [math.prod(c) for c in product(chance, repeat=neurons - 1)]
        states = torch.tensor(list(product(value, repeat=neurons - 1)), dtype=torch.float64)
        own = one.field(torch.cat([states.new_ones(len(states), 1), states], 1))[:, 0].numpy()
        relative = np.dot(signal, own**2) / np.dot(signal, own) ** 2 - 1
        worst = max(worst, abs(relative - signal_variance(neurons, count, r, degree)) / (1 + relative))
    return Evidence.at_most("largest relative difference to enumeration, also of the signal's variance", worst, 1e-12)


@cache
def _overlaps(neurons: int, patterns: int, examples: int, quality: float, degree: int, new: bool) -> np.ndarray:
    """Simulated overlaps, one for each seed."""
    return np.array([measured_overlap(neurons, patterns, examples, quality, degree, torch.Generator().manual_seed(seed), new) for seed in SEEDS])


@claim(
    statement="One step from the pattern, or from an example that was never stored, gives the overlap of the law with normal crosstalk.",
    source="this book", kind="simulation",
)
def law_matches_simulation() -> Evidence:
    deviations, words = [], []
    for (n, k, count, r, degree), new in product(_MEMORIES, (False, True)):
        found = _overlaps(n, k, count, r, degree, new)
        law = one_step_overlap(n, k, count, r, degree, r if new else 1.0)
        deviations.append(abs(found.mean() - law) / _error(found))
        words.append(f"P={degree}, M={count}{', new' if new else ''}: {found.mean():.4f} +- {_error(found):.4f}, {law:.4f}")
    return Evidence.at_most("largest deviation", max(deviations), 4.0, unit="s.e.", seeds=SEEDS, detail="simulation and law: " + "; ".join(words))


@claim(
    statement="The closed form with the error function is within four standard errors of the simulation.",
    source="this book", kind="simulation",
)
def closed_form_matches_simulation() -> Evidence:
    deviations = []
    for n, k, count, r, degree in _MEMORIES:
        found = _overlaps(n, k, count, r, degree, False)
        deviations.append((one_step_overlap(n, k, count, r, degree, method="closed") - found.mean()) / _error(found))
    detail = ", ".join(f"P={case[4]}, M={case[2]}: {deviation:+.1f}" for case, deviation in zip(_MEMORIES, deviations, strict=True))
    return Evidence.at_most("largest deviation from the pattern", max(map(abs, deviations)), 4.0, unit="s.e.", seeds=SEEDS, detail=detail)


@claim(
    statement=r"A normal variable in the place of a mean of $M$ examples changes the overlap by at most $0.9496\,(1+r^2)/\sqrt{M(1-r^2)}$.",
    source="shevtsova2011absolute; this book", kind="theorem",
)
def normal_mean_costs_little() -> Evidence:
    ratios = []
    for load, count, r, degree, start in product((1, 30, 1000), (1, 2, 5, 20, 101), (0.1, 0.5, 0.9), (2, 3), (1.0, 0.4)):
        binomial, closed = (one_step_overlap(100, load, count, r, degree, start, method) for method in ("binomial", "closed"))
        ratios.append(abs(binomial - closed) / normal_error_bound(count, r))
    return Evidence.at_most("largest difference over bound", max(ratios), 1.0, detail=f"{len(ratios)} memories")


@claim(
    statement="Where the pattern is the only one, one step gives the majority of its examples; with crosstalk the overlap is less than a majority's.",
    source="this book", kind="theorem",
)
def one_pattern_is_a_majority() -> Evidence:
    worst = 0.0
    for seed, degree in product(SEEDS, (2, 3)):
        examples = noisy_examples(random_patterns(1, 150, seed), 9, 0.6, seed)
        found = example_memory(examples, degree).step(random_patterns(1, 150, seed))
        worst = max(worst, float((found != examples.sum(1).sign()).sum()))
    majority = 1 - 2 * binom.cdf(4, 9, 0.8)
    worst = max(worst, abs(one_step_overlap(150, 1, 9, 0.6, 2) - majority))
    found = [one_step_overlap(150, k, 9, 0.6, degree, start) for k, degree, start in product((2, 10, 100), (2, 3, 4), (0.3, 1.0))]
    worst = max(worst, max(found) - majority)
    return Evidence.at_most("neurons that differ, difference of the overlaps, or what crosstalk adds", worst, 1e-12, seeds=SEEDS, detail=f"majority {majority:.4f}; with crosstalk {min(found):.4f} to {max(found):.4f}")


@claim(
    statement=r"The mass of unseen inputs is $\frac{c^{1/\alpha}}\alpha\Gamma(1-\frac1\alpha)T^{-(1-1/\alpha)}$, up to the factor $1-\frac{\theta(\theta+1)}{2T}+\frac{\theta(\theta+1)(\theta+2)(3\theta+1)}{24T^2}$, $\theta=1-\frac1\alpha$, and smaller terms.",
    source="cabannes2024scaling; this book", kind="theorem",
)
def unseen_law() -> Evidence:
    worst, words, early = 0.0, [], 0.0
    for alpha in (1.3, *_ALPHAS, 3.0):
        s = 1 - 1 / alpha
        first, second = -s * (s + 1) / 2, s * (s + 1) * (s + 2) * (3 * s + 1) / 24
        left = {t: (t * (unseen_mass(t, alpha) / unseen_mass(t, alpha, "asymptotic") - 1) - first) * t - second for t in (100, 10000)}
        worst, early = max(worst, abs(left[10000])), max(early, abs(left[100]))
        words.append(f"{alpha:g}: {math.log10(unseen_mass(1000, alpha) / unseen_mass(100, alpha)):.4f}, limit {-s:.4f}")
    detail = f"at T = 100 up to {early:.2g}: there the sum still differs from an integral; exponents between 100 and 1000 for alpha = " + "; ".join(words)
    return Evidence.at_most("largest $T^2$ times what is left over at T = 10000", worst, 1e-2, detail=detail)


@claim(
    statement="The error on unseen inputs, with drawn samples, is the exact sum.",
    source="cabannes2024scaling", kind="simulation",
)
def unseen_matches_simulation() -> Evidence:
    counts, deviations, words = (100, 1000, 10000, 100000), [], []
    for alpha in _ALPHAS:
        found = np.array([measured_unseen(counts, alpha, seed) for seed in SEEDS])
        exact = np.array([unseen_mass(count, alpha) for count in counts])
        deviations.append(np.abs(found.mean(0) - exact) / _error(found))
        slope, error = fitted_exponent(counts, found)
        words.append(f"alpha {alpha:g}: exponent {slope:.4f} +- {error:.4f}, derived {1 / alpha - 1:.4f}")
    return Evidence.at_most("largest deviation", float(np.max(deviations)), 4.0, unit="s.e.", seeds=SEEDS, detail="; ".join(words))


@claim(
    statement="The error of a small matrix is that of independent normal scores, for three ways of storing.",
    source="cabannes2024scaling; this book", kind="simulation",
)
def association_law_matches_simulation() -> Evidence:
    deviations = []
    for storing, errors in _measured().items():
        law = np.array([[association_error(d, alpha, storing, vocabulary=_VOCABULARY) for alpha in _ALPHAS] for d in _DIMENSIONS])
        deviations.append((storing, np.abs(errors.mean(0) - law) / _error(errors)))
    detail = ", ".join(f"{storing} {deviation.max():.1f}" for storing, deviation in deviations)
    return Evidence.at_most("largest deviation, 24 points", max(float(d.max()) for _, d in deviations), 4.0, unit="s.e.", seeds=SEEDS, detail=detail)


@cache
def _measured() -> dict[str, np.ndarray]:
    """Errors, (seeds, dimensions, alphas) for each way of storing."""
    drawn = [[measured_association_error(d, _ALPHAS, seed, vocabulary=_VOCABULARY) for d in _DIMENSIONS] for seed in SEEDS]
    return {storing: np.array([[one[storing] for one in row] for row in drawn]) for storing in STORING}


@claim(
    statement="Between 32 and 256 dimensions the exponents fitted to simulated errors are already those of the limit, for three ways of storing.",
    source="cabannes2024scaling; this book", kind="simulation",
)
def exponents_at_small_dimension() -> Evidence:
    deviations, words = [], []
    for storing, errors in _measured().items():
        for position, alpha in enumerate(_ALPHAS):
            slope, error = fitted_exponent(_DIMENSIONS, errors[:, :, position])
            limit = predicted_exponent(storing, alpha)
            deviations.append(abs(slope - limit) / error)
            words.append(f"{storing} {alpha:g}: {slope:.3f} +- {error:.3f}, limit {limit:.3f}")
    return Evidence.at_most("largest deviation", max(deviations), 4.0, unit="s.e.", seeds=SEEDS, detail="; ".join(words))


@claim(
    statement=r"Stored with $q=p$ or $q=\sqrt p$, the error's exponent tends to $-\frac{\alpha-1}{2\alpha}$ or $-\frac{\alpha-1}\alpha$.",
    source="cabannes2024scaling; this book", kind="theorem",
)
def exponents_of_powers() -> Evidence:
    worst, words = 0.0, []
    for storing, alpha in product(("frequency", "root"), _ALPHAS):
        slope = _local_exponent(2**14, alpha, storing)
        worst = max(worst, abs(slope - predicted_exponent(storing, alpha)))
        words.append(f"{storing} {alpha:g}: {slope:.4f}, {predicted_exponent(storing, alpha):.4f}; from 32 to 128 {_local_exponent(32, alpha, storing):.4f}")
    return Evidence.at_most("largest difference, the law's local exponent between 2^14 and 2^16 dimensions", worst, 5e-3, detail="; ".join(words))


@claim(
    statement=r"Stored with $q=1$ for $x\le d/8$, the exponent is $-(\alpha-1)$ at large dimension, too.",
    source="this book", kind="finding",
)
def exponent_of_a_threshold() -> Evidence:
    words = [f"{alpha:g}: " + ", ".join(f"{_local_exponent(d, alpha, 'threshold'):.3f} from {d}" for d in (32, 512, 2**12, 2**14)) for alpha in _ALPHAS]
    worst = max(abs(_local_exponent(2**14, alpha, "threshold") - predicted_exponent("threshold", alpha)) for alpha in _ALPHAS)
    return Evidence.at_most("largest difference, the law's local exponent between 2^14 and 2^16 dimensions", worst, 5e-3, detail="alpha = " + "; ".join(words))


@claim(
    statement="The reason: with inputs in a fixed proportion to the dimension the stored ones keep a constant error.",
    source="this book", kind="theorem",
)
def threshold_has_a_floor() -> Evidence:
    outputs, d, alpha = 4, 2**18, 4.0
    # All scores have the variance 1 / (8 * outputs): one eighth as many inputs as dimensions, shared by the answers.
    nodes, weights = np.polynomial.hermite_e.hermegauss(48)
    sigma = 1 / math.sqrt(8 * outputs)
    floor = float((1 - ndtr((1 + sigma * nodes) / sigma) ** (outputs - 1)) @ weights / math.sqrt(2 * math.pi))
    # At alpha = 4 what lies beyond 32768 inputs is below 1e-14, and the floor is all there is.
    found = association_error(d, alpha, "threshold", outputs, vocabulary=300000)
    return Evidence.at_most("relative difference between the law's error at $2^{18}$ dimensions and the floor", abs(found / floor - 1), 1e-3, detail=f"floor {floor:.2e}, four answers")


def _local_exponent(dimension: int, alpha: float, storing: str) -> float:
    """Of the law, between a dimension and four times as many."""
    low, high = (association_error(d, alpha, storing, vocabulary=10**6) for d in (dimension, 4 * dimension))
    return math.log(high / low) / math.log(4)
