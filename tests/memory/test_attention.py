"""Attention as a memory, its bounds and fixed points, and binary dense memories, against independent computations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from hopmix.memory import attention
from hopmix.memory.attention import (
    balanced,
    critical_inverse_temperature,
    dense_memory,
    effective_number,
    energy_floor,
    fixed_points,
    modern_hopfield,
    random_patterns,
    retrieval_bound,
    retrieval_guarantee,
    separation,
    softmax_weights,
    spread,
    two_layer_memory,
)
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.memory.lagrangian import Quadratic, Softmax, Tanh
from hopmix.testing import assert_descends

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(x):
    weights = np.exp(x - x.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_public_names_are_there():
    assert all(hasattr(attention, name) for name in attention.__all__)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("beta", [0.2, 1.0, 25.0])
@pytest.mark.parametrize("different", [False, True])
def test_a_step_is_attention_in_numpy(beta, different, device):
    keys, values, queries = (normal(seed, *shape).to(device) for seed, shape in enumerate([(7, 5), (7, 5), (11, 5)]))
    found = modern_hopfield(keys, beta, values if different else None).step(queries, leak=True).cpu()
    keys, values, queries = keys.cpu().numpy(), (values if different else keys).cpu().numpy(), queries.cpu().numpy()
    np.testing.assert_allclose(found.numpy(), softmax(beta * queries @ keys.T) @ values, rtol=1e-12, atol=1e-14)


@settings(max_examples=10, deadline=None)
@example(seed=50, beta=16.0, eta=2.0)
@example(seed=49, beta=15.0, eta=4.0)
@given(seed=st.integers(0, 1000), beta=st.floats(0.05, 20), eta=st.floats(0.05, 4))
def test_the_energy_falls_by_what_the_theorem_says(seed, beta, eta):
    keys, x = normal(seed, 6, 4), normal(seed + 1, 8, 4)
    memory = modern_hopfield(keys, beta)
    y = memory.step(x, eta, leak=True)
    log_p, log_q = (log_softmax(beta * state.numpy() @ keys.numpy().T, axis=1) for state in (x, y))
    log_ratio = beta * ((x - y) @ keys.T) - (torch.logsumexp(beta * x @ keys.T, 1) - torch.logsumexp(beta * y @ keys.T, 1))[:, None]
    divergence = (np.exp(log_p) * log_ratio.numpy()).sum(1)
    assert (divergence > -1e-12).all()
    # In logarithms, because at low temperatures a weight may be too small for a float before the step and not after it.
    np.testing.assert_allclose(log_ratio.numpy(), log_p - log_q, rtol=0, atol=64 * 2.0**-52 * (1 + np.abs(log_p).max() + np.abs(log_q).max()))
    expected = (1 / eta - 0.5) * (y - x).square().sum(1).numpy() + divergence / beta
    found = (memory.energy(x) - memory.energy(y)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12 * (1 + np.abs(found).max() + float(memory.energy(y).abs().max())))


def test_it_descends_along_the_flow_with_fast_and_slow_hidden_neurons():
    keys = normal(0, 6, 4)
    assert_descends(modern_hopfield(keys, 3.0), normal(1, 8, 4), time=3.0)
    slow = modern_hopfield(keys, 3.0, hidden_time_constant=0.5)
    assert_descends(slow, slow.random_state(8), time=3.0)
    assert_descends(two_layer_memory(keys, Tanh(), Quadratic()), normal(1, 8, 4), time=3.0)


def test_parameters_are_trained():
    keys = torch.nn.Parameter(normal(0, 6, 4))
    modern_hopfield(keys, 2.0).step(normal(1, 3, 4), leak=True).sum().backward()
    assert keys.grad is not None and bool((keys.grad != 0).any())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), beta=st.floats(0.05, 5), distance=st.floats(0, 1))
def test_bounds_by_loops(seed, beta, distance):
    keys = normal(seed, 5, 3)
    pairs = retrieval_bound(keys, beta, distance, pairs=True)
    one_step = modern_hopfield(keys, beta)
    for mu in range(5):
        gaps = [float(keys[mu] @ (keys[mu] - keys[nu])) for nu in range(5) if nu != mu]
        apart = [float((keys[mu] - keys[nu]).norm()) for nu in range(5) if nu != mu]
        assert float(separation(keys)[mu]) == pytest.approx(min(gaps), abs=1e-12)
        assert float(spread(keys)[mu]) == pytest.approx(max(apart), abs=1e-12)
        worst = max(apart) * 4 * math.exp(-beta * (min(gaps) - max(apart) * distance))
        assert float(retrieval_bound(keys, beta, distance)[mu]) == pytest.approx(worst, rel=1e-12)
        assert float(retrieval_guarantee(keys, beta)[mu]) == pytest.approx(math.e * beta * max(apart) ** 2 * 4 * math.exp(-beta * min(gaps)), rel=1e-12)
        by_pairs = sum(a * math.exp(-beta * (g - a * distance)) for a, g in zip(apart, gaps))
        assert float(pairs[mu]) == pytest.approx(by_pairs, rel=1e-12) and by_pairs <= worst * (1 + 1e-12)
        direction = normal(seed + mu, 20, 3)
        x = keys[mu] + distance * direction / direction.norm(dim=1, keepdim=True)
        assert float((one_step.step(x, leak=True) - keys[mu]).norm(dim=1).max()) <= by_pairs + 1e-12
    different = torch.linspace(0, 1, 5, dtype=torch.float64)
    together = retrieval_bound(keys, beta, different, pairs=True)
    assert float(together[3]) == pytest.approx(float(retrieval_bound(keys, beta, 0.75, pairs=True)[3]), rel=1e-12)


def test_energy_floor_of_one_pattern():
    key = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert float(energy_floor(key, 2.0)) == pytest.approx(12.5)
    assert float(modern_hopfield(key, 2.0).energy(key)[0] + energy_floor(key, 2.0)) == pytest.approx(0.0, abs=1e-12)


def test_balanced_patterns_have_mean_zero_and_length_one():
    patterns = balanced(3 + normal(0, 40, 6))
    assert float(patterns.mean(0).norm()) < 1e-12
    torch.testing.assert_close(patterns.norm(dim=1), torch.ones(40, dtype=torch.float64), rtol=1e-12, atol=0)
    covariance = np.cov(patterns.numpy().T, bias=True)
    assert critical_inverse_temperature(patterns) == pytest.approx(1 / np.linalg.eigvalsh(covariance)[-1], rel=1e-10)
    with pytest.raises(NotConverged, match="mean that is not zero"):
        balanced(3 + normal(0, 40, 6), most=1)
    with pytest.raises(ValueError, match="patterns must differ from their mean"):
        balanced(torch.tensor([[1.0, 0], [-1, 0], [0, 0]], dtype=torch.float64))
    with pytest.raises(ValueError, match="patterns must have mean zero"):
        critical_inverse_temperature(1 + patterns)


def test_fixed_points_are_fixed_and_minima():
    patterns = balanced(normal(0, 30, 6))
    for beta in (2.0, 8.0, 50.0):
        x = fixed_points(patterns, beta, patterns, tolerance=1e-13)
        memory = modern_hopfield(patterns, beta)
        assert float((memory.step(x, leak=True) - x).norm(dim=1).max()) < 1e-12
        assert bool((memory.energy(x) <= memory.energy(patterns) + 1e-12).all())
    assert float(fixed_points(patterns, 0.5, patterns).abs().max()) < 1e-6
    with pytest.raises(NotConverged, match="attention still moves") as caught:
        fixed_points(patterns, critical_inverse_temperature(patterns), patterns, tolerance=1e-12, most=5)
    assert caught.value.iterations == 5 and caught.value.residual > 0


def test_effective_number_counts():
    weights = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]], dtype=torch.float64)
    assert effective_number(weights).tolist() == pytest.approx([1, 4, 2])
    keys, x = normal(0, 5, 3), normal(1, 2, 3)
    np.testing.assert_allclose(softmax_weights(keys, 2.0, x).numpy(), softmax(2 * x.numpy() @ keys.numpy().T), rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("degree", [2, 3, 5, None])
def test_flip_cost_by_loops(degree, device, monkeypatch):
    monkeypatch.setattr(attention.dense, "_BLOCK", 64)  # several blocks
    patterns = random_patterns(30, 8, seed=1, device=device)
    memory, state = dense_memory(patterns, degree), random_patterns(4, 8, seed=2, device=device)

    def energy(sigma):
        overlaps = patterns.cpu().numpy() @ sigma
        return -np.sum(np.exp(overlaps - 8) if degree is None else overlaps**degree)

    found, stepped = memory.flip_cost(state).cpu().numpy(), memory.step(state).cpu().numpy()
    for sample, sigma in enumerate(state.cpu().numpy()):
        assert float(memory.energy(state)[sample]) == pytest.approx(energy(sigma), rel=1e-12)
        for neuron in range(8):
            flipped = sigma * np.where(np.arange(8) == neuron, -1, 1)
            cost = energy(flipped) - energy(sigma)
            assert found[sample, neuron] == pytest.approx(cost, rel=1e-10, abs=1e-10)
            assert stepped[sample, neuron] == (-sigma[neuron] if cost < -1e-9 else sigma[neuron])


def test_random_patterns_are_fair_signs():
    patterns = random_patterns(400, 500, seed=0)
    assert set(patterns.unique().tolist()) == {-1.0, 1.0} and abs(float(patterns.mean())) < 4 / math.sqrt(patterns.numel())
    assert torch.equal(patterns[:3], random_patterns(400, 500, seed=0)[:3]) and not torch.equal(patterns, random_patterns(400, 500, seed=1))


SIGNS = torch.ones(2, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: modern_hopfield([[1.0]]), TypeError, "patterns must be a floating-point torch.Tensor .*, got list"),
        (lambda: modern_hopfield(torch.ones(3)), ValueError, r"patterns must be \(patterns, neurons\) with 1 or more patterns, got shape \(3,\)"),
        (lambda: modern_hopfield(torch.full((2, 2), math.nan)), ValueError, "patterns has entries that are not finite"),
        (lambda: modern_hopfield(SIGNS, 0.0), ValueError, "inverse_temperature must be positive and finite, got 0.0"),
        (lambda: modern_hopfield(SIGNS, 1.0, SIGNS[:1]), ValueError, r"values must have the shape of patterns, \(2, 3\), got \(1, 3\)"),
        (lambda: two_layer_memory(SIGNS, "relu", Softmax()), TypeError, "lagrangian of layer 'visible' must be a Lagrangian"),
        (lambda: separation(SIGNS[:1]), ValueError, "with 2 or more patterns"),
        (lambda: retrieval_bound(SIGNS, 1.0, -1.0), ValueError, "distance must be finite and not negative, got -1.0"),
        (lambda: retrieval_bound(SIGNS, 1.0, torch.tensor([-1.0, 0])), ValueError, "distance must be not negative, in every entry"),
        (lambda: dense_memory(SIGNS / 2), ValueError, "patterns must have entries"),
        (lambda: dense_memory(SIGNS, 1), ValueError, "degree must be an integer from 2 on, got 1"),
        (lambda: dense_memory(SIGNS).step(torch.ones(2, 4, dtype=torch.float64)), ValueError, r"state must have shape \(batch, 3\)"),
        (lambda: dense_memory(SIGNS).step(torch.ones(2, 3)), TypeError, "state has dtype torch.float32"),
        (lambda: dense_memory(SIGNS).energy(SIGNS / 2), ValueError, r"state must have entries \+1 and -1 alone"),
        (lambda: retrieval_bound(SIGNS, 1.0, torch.ones(3)), ValueError, r"distance must broadcast with \(2,\), one for each pattern, got shape \(3,\)"),
        (lambda: retrieval_bound(SIGNS, 1.0, pairs=1), TypeError, "pairs must be True or False, got 1"),
        (lambda: fixed_points(SIGNS, 1.0, SIGNS.float()), TypeError, "start has dtype torch.float32"),
        (lambda: softmax_weights(SIGNS, 1.0, SIGNS[:, :2]), ValueError, r"state must have shape \(batch, 3\)"),
        (lambda: softmax_weights(SIGNS, 1.0, SIGNS * math.nan), ValueError, "state has entries that are not finite"),
        (lambda: effective_number(torch.ones(2, 2)), ValueError, "weights must not be negative and have sum 1 in every row"),
        (lambda: effective_number(torch.ones(2)), ValueError, r"weights must be \(batch, patterns\), got shape \(2,\)"),
        (lambda: effective_number([1.0]), TypeError, "weights must be a floating-point torch.Tensor"),
        (lambda: random_patterns(0, 3), ValueError, "count must be a positive integer, got 0"),
        (lambda: fixed_points(SIGNS, -1.0, SIGNS), ValueError, "inverse_temperature must be positive"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
