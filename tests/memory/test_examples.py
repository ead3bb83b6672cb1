"""Memories taught with examples, and associations of Zipf-distributed inputs, against independent computations."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom, norm

from hopmix.memory import examples
from hopmix.memory.attention import dense_memory, one_step_error, random_patterns
from hopmix.memory.examples import (
    STORING,
    ExampleMemory,
    association_error,
    example_memory,
    mean_examples,
    measured_association_error,
    measured_unseen,
    noisy_examples,
    normal_error_bound,
    one_step_overlap,
    relative_noise,
    unseen_mass,
)
from hopmix.memory.examples.associations import predicted_exponent, stored_weights, zipf
from hopmix.memory.examples.law import signal_variance
from hopmix.testing import assert_matches_simulation


def test_public_names_are_there():
    assert all(hasattr(examples, name) for name in examples.__all__)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), degree=st.integers(2, 5))
def test_the_field_is_the_energy_difference_of_a_flip(seed, degree):
    means = torch.rand(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    state = random_patterns(1, 6, seed)[0]

    def energy(x):
        return -sum(math.prod(float(row[j] * x[j]) for j in chosen) for row in means for chosen in combinations(range(6), degree))

    field = ExampleMemory(means, degree).field(state[None])[0]
    for i in range(6):
        flipped = state.clone()
        flipped[i] = -flipped[i]
        assert energy(flipped) - energy(state) == pytest.approx(2 * float(state[i] * field[i]), abs=1e-11)


def test_fields_do_not_depend_on_the_blocks(monkeypatch):
    memory, states = ExampleMemory(mean_examples(random_patterns(30, 20, 0), 3, 0.5), 3), random_patterns(50, 20, 1)
    whole = memory.field(states)
    monkeypatch.setattr(examples.hebbian, "_BLOCK", 1300)
    assert torch.equal(memory.field(states), whole)


def test_one_example_of_degree_two_is_the_dense_memory():
    stored = noisy_examples(random_patterns(6, 31, 0), 1, 0.7, 1)
    state = random_patterns(9, 31, 2)
    assert torch.equal(example_memory(stored, 2).step(state), dense_memory(stored[:, 0], 2).step(state))


def test_a_field_of_zero_keeps_the_neuron():
    memory = ExampleMemory(torch.zeros(2, 5, dtype=torch.float64), 3)
    state = random_patterns(3, 5, 0)
    assert torch.equal(memory.step(state), state)


def test_examples_have_their_quality_and_means_their_law():
    patterns = random_patterns(40, 50, 0)
    found = [float((noisy_examples(patterns, 9, 0.3, seed).mean(1) * patterns).mean()) for seed in range(16)]
    assert_matches_simulation(0.3, found)
    for draw in (lambda seed: noisy_examples(patterns, 9, 0.3, seed).mean(1), lambda seed: mean_examples(patterns, 9, 0.3, seed)):
        counts = [torch.bincount(((draw(seed) * patterns + 1) * 4.5).round().long().flatten(), minlength=10).numpy() / 2000 for seed in range(16)]
        assert_matches_simulation(binom.pmf(np.arange(10), 9, 0.65), counts)
    square = [float((mean_examples(patterns, 9, 0.3, seed) / 0.3).square().mean()) for seed in range(16)]
    assert_matches_simulation(1 + relative_noise(9, 0.3), square)


@pytest.mark.parametrize("degree", [2, 3])
def test_the_signal_has_its_variance(degree):
    n, count, r, start = 12, 3, 0.6, 0.5
    values = []
    for seed in range(32):
        state = noisy_examples(torch.ones(1, n, dtype=torch.float64), 4000, start, seed)[0]
        means = mean_examples(torch.ones(4000, n, dtype=torch.float64), count, r, 1000 + seed)
        z = (state * means)[:, 1:]
        sums = z.sum(1) if degree == 2 else (z.sum(1).square() - z.square().sum(1)) / 2
        values.append(float(sums.square().mean()))
    sets = math.comb(n - 1, degree - 1) * (r * start) ** (degree - 1)
    assert_matches_simulation(sets**2 * (1 + signal_variance(n, count, r, degree, start)), values)


def test_clean_examples_give_the_known_law():
    # Without noise the memory of degree two is the last chapter's, whose error is Q(sqrt(N / K)) in the limit.
    found = one_step_overlap(400, 60, 7, 1.0, 2, method="closed")
    assert found == pytest.approx(1 - 2 * one_step_error(400, 60, 2, "asymptotic"), abs=1e-12)
    assert one_step_overlap(400, 60, 1, 1.0, 2) == pytest.approx(1 - 2 * one_step_error(400, 60, 2, "gaussian"), abs=1e-12)


def test_methods_agree_in_the_limit_of_many_neurons_and_examples():
    kept = [one_step_overlap(10**6, 10**5, 10**5, 0.1, 2, method=method) for method in ("finite", "binomial", "closed")]
    assert kept[1] == pytest.approx(kept[0], rel=1e-4) and kept[2] == pytest.approx(kept[1], rel=1e-3)


def test_the_closed_form_is_a_normal_probability():
    n, k, count, r, p, start = 90, 300, 7, 0.4, 3, 0.6
    rho = relative_noise(count, r)
    signal = r * (start * r * n) ** (p - 1)
    variance = rho * signal**2 + k * math.factorial(p - 1) * n ** (p - 1) * (r * r * (1 + rho)) ** p
    inside = quad(lambda h: norm.pdf(h, 0, math.sqrt(variance)), -signal, signal)[0]
    assert one_step_overlap(n, k, count, r, p, start, "closed") == pytest.approx(inside, rel=1e-9)


def test_the_normal_bound_is_the_third_moment():
    r = 0.7
    third, second = sum(f * abs(x - r) ** 3 for f, x in ((0.85, 1), (0.15, -1))), sum(f * (x - r) ** 2 for f, x in ((0.85, 1), (0.15, -1)))
    assert normal_error_bound(25, r) == pytest.approx(2 * 0.4748 * third / second**1.5 / 5)


@pytest.mark.parametrize("alpha", [1.3, 2.0])
def test_the_unseen_mass_beyond_the_sum(alpha, monkeypatch):
    exact = unseen_mass(50, alpha)
    monkeypatch.setattr(examples.associations, "VOCABULARY", 3000)
    assert unseen_mass(50, alpha) == pytest.approx(exact, rel=1e-11)
    p, tail = zipf(alpha, 3000)
    assert p.sum() + tail == pytest.approx(1, abs=1e-12)


def test_measured_unseen_is_what_the_samples_leave():
    found = measured_unseen((1, 5, 400), 2.0, seed=3)
    p, _ = zipf(2.0, 10**6)
    drawn = np.searchsorted(np.cumsum(p), torch.rand(400, generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy())
    assert found == pytest.approx([1 - p[np.unique(drawn[:count])].sum() for count in (1, 5, 400)], abs=1e-12)


def test_unseen_samples_follow_the_exact_sum():
    assert_matches_simulation([unseen_mass(t, 1.5) for t in (10, 1000)], [measured_unseen((10, 1000), 1.5, seed) for seed in range(32)])


def test_the_matrix_memory_in_loops():
    d, m, v = 16, 2, 20
    found = measured_association_error(d, (2.0,), seed=5, outputs=m, vocabulary=v)
    g = torch.Generator().manual_seed(5)
    inputs = torch.randn(v, d, generator=g, dtype=torch.float64).numpy()
    inputs /= np.linalg.norm(inputs, axis=1, keepdims=True)
    answers = torch.linalg.qr(torch.randn(d, m, generator=g, dtype=torch.float64)).Q.numpy().T
    p, tail = zipf(2.0, v)
    for storing in STORING:
        q = stored_weights(storing, 2.0, d, v)
        matrix = sum(q[x - 1] * np.outer(answers[x % m], inputs[x - 1]) for x in range(1, v + 1))
        wrong = sum(p[x - 1] for x in range(1, v + 1) if max(range(m), key=lambda y: answers[y] @ matrix @ inputs[x - 1]) != x % m)
        assert found[storing][0] == pytest.approx(wrong + tail / 2, abs=1e-12)


@pytest.mark.parametrize("storing", STORING)
def test_the_law_of_two_answers_is_a_normal_tail(storing):
    d, alpha, v = 64, 1.7, 500
    p, tail = zipf(alpha, v)
    q = stored_weights(storing, alpha, d, v)
    # With two answers the difference of the scores is normal: all other inputs contribute.
    expected = p @ norm.sf(q / np.sqrt((np.sum(q**2) - q**2) / d)) + tail / 2
    assert association_error(d, alpha, storing, outputs=2, vocabulary=v) == pytest.approx(expected, rel=1e-6)


def test_long_stretches_stand_for_single_inputs():
    # Beyond 4000 inputs representatives are summed: the same with all of them, at two answers.
    d, alpha, v = 64, 1.4, 60000
    p, tail = zipf(alpha, v)
    q = stored_weights("root", alpha, d, v)
    expected = p @ norm.sf(q / np.sqrt((np.sum(q**2) - q**2) / d)) + tail / 2
    assert association_error(d, alpha, "root", outputs=2, vocabulary=v) == pytest.approx(expected, rel=1e-4)


def test_predicted_exponents():
    assert [predicted_exponent(name, 2.0) for name in STORING] == [-1, -0.25, -0.5]


PATTERNS = random_patterns(3, 8, 0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: noisy_examples(PATTERNS, 0, 0.5), ValueError, "count must be a positive integer"),
        (lambda: noisy_examples(PATTERNS, 3, 1.5), ValueError, "quality must be at most 1"),
        (lambda: noisy_examples(PATTERNS, 3, 0.0), ValueError, "quality must be positive"),
        (lambda: mean_examples(PATTERNS / 2, 3, 0.5), ValueError, "patterns must have shape"),
        (lambda: mean_examples([1.0], 3, 0.5), TypeError, "patterns must be a floating-point"),
        (lambda: ExampleMemory(PATTERNS, 1), ValueError, "degree must be an integer from 2 on"),
        (lambda: ExampleMemory(PATTERNS, 9), ValueError, "degree must be at most the number of neurons"),
        (lambda: ExampleMemory(PATTERNS * 2, 2), ValueError, "means must have entries from -1 to 1"),
        (lambda: ExampleMemory(PATTERNS * math.nan, 2), ValueError, "means has entries that are not finite"),
        (lambda: ExampleMemory(PATTERNS[0], 2), ValueError, "means must have shape"),
        (lambda: ExampleMemory(3, 2), TypeError, "means must be a floating-point"),
        (lambda: ExampleMemory(PATTERNS, 2).field(PATTERNS[:, :5]), ValueError, "state must have shape"),
        (lambda: example_memory(PATTERNS), ValueError, "examples must have shape"),
        (lambda: example_memory([PATTERNS]), TypeError, "examples must be a torch.Tensor"),
        (lambda: one_step_overlap(10, 2, 3, 0.5, 2, method="exact"), ValueError, "method must be one of finite, binomial, closed"),
        (lambda: one_step_overlap(10, 2, 3, 0.5, 11), ValueError, "degree must be at most neurons"),
        (lambda: one_step_overlap(10, 2, 3, 0.5, 2, start=1.2), ValueError, "start at most 1"),
        (lambda: normal_error_bound(3, 1.0), ValueError, "quality must be below 1"),
        (lambda: unseen_mass(10, 1.0), ValueError, "alpha must be above 1"),
        (lambda: unseen_mass(10**9, 1.1), ValueError, "are too many"),
        (lambda: unseen_mass(10, 2.0, "sum"), ValueError, "method must be one of"),
        (lambda: measured_unseen((5, 3), 2.0), ValueError, "rising order"),
        (lambda: association_error(16, 2.0, "root"), ValueError, "dimension must be from 8"),
        (lambda: association_error(64, 2.0, "all"), ValueError, "storing must be one of"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
