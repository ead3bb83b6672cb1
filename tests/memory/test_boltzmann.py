"""The attentional Boltzmann machine against sums, loops, quadrature and a second implementation written in numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal

from hopmix.memory.boltzmann import (
    AttentionalBoltzmannMachine,
    GaussianMixture,
    em_step,
    fit_em,
    fit_gradient,
    live_units,
    power_mixture,
    start_from_data,
)
from hopmix.memory.boltzmann.claims import normal, random_machine
from hopmix.memory.hierarchical.errors import NotConverged
from hopmix.testing import assert_matches_simulation

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def arrays(machine):
    return [parameter.detach().numpy() for parameter in machine.parameters()]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), visible=st.integers(1, 6), hidden=st.integers(1, 6), beta=st.floats(0.2, 5))
def test_likelihood_is_scipys_mixture_and_the_mixture_leads_back(seed, visible, hidden, beta):
    machine, v = random_machine(seed, visible, hidden, beta), normal(seed, 7, visible)
    weight, b, c = arrays(machine)
    exponent = (weight**2).sum(1) / 2 + weight @ b + c
    log_weights = beta * exponent - logsumexp(beta * exponent)
    components = [multivariate_normal(b + w, np.eye(visible) / beta).logpdf(v.numpy()) for w in weight]
    expected = logsumexp(np.reshape(components, (hidden, -1)) + log_weights[:, None], axis=0)
    np.testing.assert_allclose(machine.log_likelihood(v).numpy(), expected, rtol=1e-10, atol=1e-10)
    again = AttentionalBoltzmannMachine.from_mixture(machine.as_mixture(), visible_bias=normal(seed + 1, visible))
    np.testing.assert_allclose(again.log_likelihood(v).detach().numpy(), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(machine.as_mixture().log_density(v).numpy(), expected, rtol=1e-10, atol=1e-10)
    assert torch.allclose(machine.as_mixture().responsibilities(v), machine.responsibilities(v), atol=1e-12)


def test_energy_update_and_score_written_in_numpy():
    machine, v = random_machine(1, 4, 6, beta=0.7), normal(1, 5, 4)
    weight, b, c = arrays(machine)
    for row, energy, updated, score in zip(v.numpy(), machine.energy(v), machine.update(v).numpy(), machine.score(v).numpy(), strict=True):
        field = weight @ row + c
        assert float(energy) == pytest.approx(((row - b) ** 2).sum() / 2 - logsumexp(0.7 * field) / 0.7, abs=1e-13)
        np.testing.assert_allclose(updated, b + softmax(0.7 * field) @ weight, atol=1e-13)
        np.testing.assert_allclose(score, 0.7 * (updated - row), atol=1e-13)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), beta=st.floats(0.3, 3))
def test_closed_gradient_is_autograds(seed, beta):
    machine, v = random_machine(seed, 3, 4, beta).requires_grad_(True), normal(seed, 6, 3)
    expected = torch.autograd.grad(machine.log_likelihood(v).mean(), list(machine.parameters()))
    for found, wanted in zip(machine.gradient(v).values(), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("device", DEVICES)
def test_reconstruction_is_each_samples_own_conditional_mean(device):
    """One Gaussian after the other: condition each component, then average; a mask for each sample."""
    machine, v = random_machine(2, 5, 4, beta=1.7), normal(2, 30, 5)
    observed = torch.rand(30, 5, generator=torch.Generator().manual_seed(0)) > 0.4
    mixture = machine.as_mixture()
    pi, means = mixture.weights.numpy(), mixture.means.numpy()
    hidden_from_view = torch.where(observed, v, torch.nan).to(device)
    filled = machine.to(device).reconstruct(hidden_from_view, observed.to(device)).cpu()
    likelihood = machine.log_likelihood(hidden_from_view, observed.to(device)).cpu()
    for k in range(30):
        seen = observed[k].numpy()
        distance = ((v[k].numpy() - means)[:, seen] ** 2).sum(1)
        log_joint = np.log(pi) - 1.7 / 2 * distance + seen.sum() / 2 * math.log(1.7 / (2 * math.pi))
        expected = np.where(seen, v[k].numpy(), softmax(log_joint) @ means)
        np.testing.assert_allclose(filled[k].numpy(), expected, atol=1e-12)
        assert float(likelihood[k]) == pytest.approx(logsumexp(log_joint), abs=1e-12)


def test_nothing_and_everything_observed():
    machine, v = random_machine(3, 4, 3), normal(3, 6, 4)
    everything, nothing = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    assert torch.equal(machine.reconstruct(v, everything), v)
    assert torch.allclose(machine.log_likelihood(v, everything), machine.log_likelihood(v), atol=1e-12)
    mixture = machine.as_mixture()
    assert torch.allclose(machine.reconstruct(v, nothing), (mixture.weights @ mixture.means).expand(6, 4), atol=1e-13)
    assert torch.allclose(machine.log_likelihood(v, nothing), torch.zeros(6, dtype=torch.float64), atol=1e-13)


def test_samples_have_the_mixtures_mean_and_covariance():
    machine = random_machine(4, 2, 3, beta=2.0)
    mixture = machine.as_mixture()
    mean = mixture.weights @ mixture.means
    second = torch.einsum("k,ki,kj->ij", mixture.weights, mixture.means, mixture.means) + torch.eye(2) / 2
    v = machine.sample(20000, seed=5)
    assert_matches_simulation(mean, v)
    assert_matches_simulation(second, v[:, :, None] * v[:, None, :])
    assert torch.equal(v, machine.sample(20000, seed=5)) and not torch.equal(v, machine.sample(20000, seed=6))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_warmer_softmax_is_the_mixture_over_all_choices(order):
    machine, v = random_machine(5, 3, 3, beta=1.4), normal(5, 8, 3)
    mixture, log_partition = power_mixture(machine, order)
    log_weight = -1.4 * (v - machine.visible_bias).square().sum(1) / 2 + order * torch.logsumexp(1.4 / order * machine.fields(v), 1)
    assert torch.allclose(mixture.log_density(v), log_weight - log_partition, atol=1e-12)
    assert len(mixture.weights) == math.comb(3 + order - 1, order)
    if order == 1:
        assert torch.allclose(log_partition, machine.log_partition(), atol=1e-13)


def test_a_power_with_too_many_components_is_refused():
    with pytest.raises(ValueError, match="order: 6 with 60 hidden units gives 82598880 components"):
        power_mixture(random_machine(0, 2, 60), 6)


def test_energies_stay_finite_far_out():
    machine = random_machine(6, 3, 4)
    v = 1e6 * normal(6, 5, 3)
    assert bool(machine.energy(v).isfinite().all()) and bool(machine.reconstruct(v, torch.tensor([True, False, False])).isfinite().all())


def test_em_in_numpy_and_it_never_falls():
    machine, v = random_machine(7, 3, 4, beta=1.5), normal(7, 50, 3)
    mixture = machine.as_mixture()
    log_joint = np.log(mixture.weights.numpy()) - 1.5 / 2 * ((v.numpy()[:, None] - mixture.means.numpy()) ** 2).sum(2)
    r = softmax(log_joint, axis=1)
    em_step(machine, v)
    np.testing.assert_allclose(machine.as_mixture().weights.numpy(), r.mean(0), atol=1e-13)
    np.testing.assert_allclose(machine.as_mixture().means.numpy(), r.T @ v.numpy() / r.sum(0)[:, None], atol=1e-12)
    history = fit_em(machine, v, 40)
    assert len(history) == 41 and np.diff(history).min() > -1e-13
    assert history[-1] == pytest.approx(float(machine.log_likelihood(v).mean()), abs=1e-13)


def test_em_keeps_a_unit_that_no_sample_takes():
    means = torch.tensor([[0.0, 0.0], [1e3, 0.0]], dtype=torch.float64)
    machine = AttentionalBoltzmannMachine.from_mixture(GaussianMixture(torch.tensor([0.5, 0.5]).double(), means)).requires_grad_(False)
    v = normal(8, 20, 2)
    fit_em(machine, v, 3)
    mixture = machine.as_mixture()
    assert bool(mixture.means.isfinite().all()) and torch.equal(mixture.means[1], means[1]) and live_units(machine, v) == 1
    assert torch.allclose(mixture.means[0], v.mean(0), atol=1e-10)


def test_em_says_when_it_has_not_converged():
    machine, v = random_machine(9, 3, 4), normal(9, 50, 3)
    with pytest.raises(NotConverged, match="after 2 iterations") as caught:
        fit_em(machine, v, 2, tolerance=1e-12)
    assert caught.value.iterations == 2 and caught.value.residual > 1e-12


def test_training_by_gradient_raises_the_likelihood_and_leaves_biases_alone_when_told():
    v = random_machine(10, 2, 3).sample(200, 0)
    machine = AttentionalBoltzmannMachine(2, 3, 1.3, seed=1)
    before = float(machine.log_likelihood(v).mean().detach())
    history = fit_gradient(machine, v, 15, 50, 0.1, biases=False, seed=0)
    assert float(machine.log_likelihood(v).mean().detach()) > before + 0.1 and history[-1] < history[0]
    assert not bool(machine.visible_bias.any()) and not bool(machine.hidden_bias.any())
    fit_gradient(machine, v, 2, 50, 0.05, seed=0)
    assert bool(machine.hidden_bias.any())


def test_start_from_data_puts_equal_weights_on_samples():
    machine, v = random_machine(11, 2, 4), normal(11, 9, 2)
    start_from_data(machine, v, seed=3)
    mixture = machine.as_mixture()
    assert torch.allclose(mixture.weights, torch.full((4,), 0.25).double(), atol=1e-13)
    assert all(float((v - mean).abs().sum(1).min()) < 1e-12 for mean in mixture.means)
    with pytest.raises(ValueError, match="at least one sample for each of 4 hidden units, got 3"):
        start_from_data(machine, v[:3])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: AttentionalBoltzmannMachine(0, 2), ValueError, "visible must be a positive integer, got 0"),
        (lambda: AttentionalBoltzmannMachine(2, 2, inverse_temperature=0.0), ValueError, "inverse_temperature must be positive"),
        (lambda: AttentionalBoltzmannMachine.from_weights(torch.ones(3)), TypeError, "weight must be a floating-point tensor"),
        (lambda: AttentionalBoltzmannMachine.from_weights(torch.ones(3, 2), torch.ones(3)), ValueError, r"visible_bias must have shape \(2,\), got \(3,\)"),
        (lambda: random_machine(0).reconstruct(normal(0, 3, 2), torch.ones(2)), TypeError, "observed must be a bool tensor"),
        (lambda: random_machine(0).reconstruct(normal(0, 3, 2), torch.ones(3, dtype=torch.bool)), ValueError, "observed must have shape"),
        (lambda: random_machine(0).reconstruct(torch.full((1, 2), torch.nan).double(), torch.tensor([True, False])), ValueError, "v where it is observed has entries"),
        (lambda: random_machine(0).energy(normal(0, 3, 5)), ValueError, "v must have shape"),
        (lambda: GaussianMixture(torch.tensor([0.5, 0.6]), torch.ones(2, 2)), ValueError, "weights must not be negative and have sum 1"),
        (lambda: GaussianMixture(torch.tensor([1.0]), torch.ones(2, 2)), ValueError, "means must be one for each of the 1 weights, got 2"),
        (lambda: GaussianMixture(torch.tensor([1.0]), torch.ones(2)), ValueError, "means must have 2 axes"),
        (lambda: GaussianMixture([1.0], torch.ones(1, 2)), TypeError, "weights must be a floating-point tensor"),
        (lambda: AttentionalBoltzmannMachine.from_mixture(GaussianMixture(torch.tensor([1.0, 0.0]), torch.ones(2, 2))), ValueError, "mixture has a weight of 0"),
        (lambda: AttentionalBoltzmannMachine.from_mixture(None), TypeError, "mixture must be a GaussianMixture, got NoneType"),
        (lambda: GaussianMixture(torch.tensor([1.0]), torch.full((1, 2), torch.nan)), ValueError, "means has entries that are not finite"),
        (lambda: random_machine(0).set(hidden=torch.ones(3)), ValueError, "the name of a parameter must be one of weight, visible_bias, hidden_bias; got 'hidden'"),
        (lambda: random_machine(0).gradient(normal(0, 3, 2)[:0]), ValueError, "v must hold at least one sample, got none"),
        (lambda: fit_em(None, normal(0, 3, 2), 1), TypeError, "machine must be an AttentionalBoltzmannMachine, got NoneType"),
        (lambda: random_machine(0).energy(torch.full((1, 2), torch.nan).double()), ValueError, "v has entries that are not finite"),
        (lambda: fit_em(random_machine(0), normal(0, 3, 2) * torch.nan, 1), ValueError, "v has entries that are not finite"),
        (lambda: fit_em(random_machine(0), normal(0, 3, 2)[:0], 1), ValueError, "v must hold at least one sample, got none"),
        (lambda: fit_gradient(random_machine(0), [1.0], 1, 1, 0.1), TypeError, "v must be a torch.Tensor, got list"),
        (lambda: live_units(None, normal(0, 3, 2)), TypeError, "machine must be an AttentionalBoltzmannMachine, got NoneType"),
        (lambda: random_machine(0).set(weight=np.ones((3, 2))), TypeError, "weight must be a torch.Tensor, got ndarray"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
