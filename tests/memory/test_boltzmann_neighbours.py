"""The machine's neighbours: associative memory, Gaussian-Bernoulli RBM, denoising, dense machines; each against enumeration or quadrature."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from hopmix.memory.boltzmann import (
    AttentionalBoltzmannMachine,
    DenseBoltzmannMachine,
    GaussianBernoulliRBM,
    Shifted,
    as_memory,
    denoising_loss,
    dilute_rate,
    divergence,
    joint_energy,
    score_at,
    smoothed_score,
)
from hopmix.memory.boltzmann.claims import normal, random_machine
from hopmix.memory.boltzmann.grid import grid_of, plane, total_variation
from hopmix.memory.lagrangian import Quadratic, Softmax
from hopmix.testing import assert_descends, assert_gradient, assert_hessian, assert_matches_simulation


def test_a_shifted_lagrangian_is_one():
    x, v = normal(0, 4, 5), normal(1, 4, 5)
    shifted = Shifted(Softmax(1.7), normal(2, 5))
    assert_gradient(shifted, x)
    assert_hessian(shifted, x, v)
    assert shifted.convex and Shifted(Quadratic(), normal(2, 5)).convex
    with pytest.raises(ValueError, match=r"shift must have the layer's shape \(4,\), got \(5,\)"):
        shifted.check_shape((4,))
    with pytest.raises(TypeError, match="lagrangian must be a Lagrangian"):
        Shifted("softmax", normal(2, 5))
    with pytest.raises(TypeError, match="shift must be a floating-point tensor"):
        Shifted(Softmax(), 1.0)


def test_the_memory_descends_to_a_fixed_point_of_attention():
    machine = random_machine(1, 4, 6)
    memory, x = as_memory(machine), normal(1, 5, 4)
    assert_descends(memory, x)
    _, states = memory.flow(x, 30.0, 400)
    v = states[-1] + machine.visible_bias
    assert torch.allclose(machine.update(v), v, atol=1e-6)


def test_joint_energy_is_the_energy_with_the_hidden_state_at_its_drive():
    machine, v = random_machine(2, 4, 6), normal(2, 5, 4)
    drive = v @ machine.weight.mT
    assert torch.allclose(joint_energy(machine, v, drive), machine.energy(v), atol=1e-12)
    assert torch.allclose(joint_energy(machine, v, drive + 3.7), machine.energy(v), atol=1e-12)
    assert bool((joint_energy(machine, v, normal(3, 5, 6)) > machine.energy(v)).all())


def test_rbm_sums_over_all_hidden_states():
    machine, v = random_machine(3, 3, 4, beta=0.8), normal(3, 6, 3)
    rbm = GaussianBernoulliRBM(machine)
    weight = 0.0
    for state in product((0.0, 1.0), repeat=4):
        h = torch.tensor(state, dtype=torch.float64).expand(6, 4)
        weight = weight + (-0.8 * rbm.energy(v, h)).exp()
    assert torch.allclose(rbm.free_energy(v), -weight.log() / 0.8, atol=1e-12)
    assert torch.allclose(rbm.as_mixture().log_density(v), -0.8 * rbm.free_energy(v) - rbm.log_partition(), atol=1e-12)
    probe = v.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(rbm.free_energy(probe).sum(), probe)
    assert torch.allclose(rbm.update(v) - v, -gradient, atol=1e-12)


def test_rbm_with_one_active_unit_is_the_attentional_machine():
    machine, v = random_machine(4, 3, 4), normal(4, 6, 3)
    rbm = GaussianBernoulliRBM(machine)
    assert torch.allclose(rbm.as_mixture(active=(1,)).log_density(v), machine.log_likelihood(v), atol=1e-12)
    assert torch.allclose(rbm.as_mixture(3.0, (1,)).log_density(v), machine.log_likelihood(v), atol=1e-12)
    with pytest.raises(ValueError, match="active: no state has"):
        rbm.as_mixture(active=(5,))
    with pytest.raises(ValueError, match=r"hidden: 17 units have 2\*\*17 states"):
        GaussianBernoulliRBM(random_machine(0, 2, 17)).subsets()


def test_dilution_by_hand_for_two_units():
    """One visible, two units: the weights of {1}, {2}, {1, 2} written out."""
    weight = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    rbm = GaussianBernoulliRBM(AttentionalBoltzmannMachine.from_weights(weight).requires_grad_(False))
    single, pair = np.exp([0.5, 0.125]), math.exp(0.125)
    weights = np.array([*(single * math.exp(-2)), pair * math.exp(-4)])
    np.testing.assert_allclose(rbm.dilute(2.0).weights.numpy(), weights / weights.sum(), rtol=1e-12)
    assert dilute_rate(rbm) == pytest.approx(pair / single.sum(), rel=1e-12)
    assert dilute_rate(GaussianBernoulliRBM(random_machine(0, 2, 1))) == 0.0


def test_total_variation_of_two_gaussians():
    one, other = (AttentionalBoltzmannMachine.from_weights(torch.tensor([[x, 0.0]], dtype=torch.float64)).requires_grad_(False) for x in (0.0, 1.5))
    expected = math.erf(0.75 / math.sqrt(2))
    assert total_variation(one.as_mixture(), other.as_mixture()) == pytest.approx(expected, rel=2e-3)
    v, area = grid_of(one)
    assert float(one.log_likelihood(v).exp().sum() * area) == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match=r"means must be \(components, 2\)"):
        plane(torch.ones(2, 3), 1.0)


def test_score_and_divergence_against_autograd_at_any_noise():
    machine, v = random_machine(5, 4, 3, beta=0.6), normal(5, 7, 4).requires_grad_(True)
    (gradient,) = torch.autograd.grad(-machine.energy(v).sum() / 0.3**2, v)
    assert torch.allclose(score_at(machine, v.detach(), 0.3), gradient, atol=1e-11)
    for row, found in zip(v.detach(), divergence(machine, v.detach(), 0.3), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda u: score_at(machine, u[None], 0.3)[0], row)
        assert float(found) == pytest.approx(float(jacobian.trace()), abs=1e-10)


def test_denoising_loss_is_the_autoencoders_error():
    machine, clean = random_machine(6, 4, 3), normal(6, 7, 4)
    noisy = clean + 0.5 * normal(7, 7, 4)
    weight, b, c = (p.numpy() for p in machine.parameters())
    for k, found in enumerate(denoising_loss(machine, clean, noisy, 0.5)):
        code = np.exp(1.3 * (weight @ noisy[k].numpy() + c))
        decoded = b + code @ weight / code.sum()
        assert float(found) == pytest.approx(((decoded - clean[k].numpy()) ** 2).sum() / (2 * 0.5**4), rel=1e-12)


def test_smoothed_score_is_a_derivative():
    data, v = normal(8, 5, 2), normal(9, 3, 2).requires_grad_(True)
    log_density = torch.logsumexp(-(v[:, None] - data).square().sum(2) / (2 * 0.7**2), 1)
    (gradient,) = torch.autograd.grad(log_density.sum(), v)
    assert torch.allclose(smoothed_score(data, v.detach(), 0.7), gradient, atol=1e-12)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_dense_marginal_is_the_integral_over_hidden_units(order):
    machine = DenseBoltzmannMachine(0.6 * normal(10, 2, 4), order)
    s = machine.states()
    assert s.shape == (16, 4) and len(torch.unique(s, dim=0)) == 16 and set(s.flatten().tolist()) == {-1.0, 1.0}
    for row, found in zip(s[:5], machine.log_weight(s)[:5], strict=True):
        expected = 0.0
        for xi in machine.patterns:
            x = float(xi @ row)
            expected += math.log(quad(lambda h, x=x: math.exp(h ** (order - 1) * x - (1 - 1 / order) * h**order), -12, 12, epsabs=0, epsrel=1e-12, limit=200)[0])
        assert float(found) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("order", [2, 4])
def test_dense_conditionals_are_sampled_as_they_are(order):
    machine = DenseBoltzmannMachine(0.6 * normal(11, 2, 4), order)
    s = machine.states()[5].expand(40000, 4)
    h = machine.sample_hidden(s, 0)
    x = machine.fields(s)[0].numpy()

    def moment(power, x):
        weight = lambda h: math.exp(h ** (order - 1) * x - (1 - 1 / order) * h**order)  # noqa: E731
        return quad(lambda h: h**power * weight(h), -8, 8, limit=200)[0] / quad(weight, -8, 8, limit=200)[0]

    assert_matches_simulation([moment(1, x[0]), moment(1, x[1])], h)
    assert_matches_simulation([moment(2, x[0]), moment(2, x[1])], h**2)
    fixed = normal(12, 1, 2)
    assert_matches_simulation(machine.spin_means(fixed)[0], machine.sample_spins(fixed.expand(40000, 2), 1))


def test_gibbs_chains_are_reproducible_spins():
    machine = DenseBoltzmannMachine(0.5 * normal(13, 3, 5), 4)
    first = machine.gibbs(50, 3, 0)
    assert first.shape == (50, 5) and set(first.flatten().tolist()) == {-1.0, 1.0}
    assert torch.equal(first, machine.gibbs(50, 3, 0)) and not torch.equal(first, machine.gibbs(50, 3, 1))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: DenseBoltzmannMachine(torch.ones(2, 3), 3), ValueError, "order must be even"),
        (lambda: DenseBoltzmannMachine(torch.ones(3)), TypeError, "patterns must be a floating-point tensor"),
        (lambda: DenseBoltzmannMachine(torch.full((1, 2), torch.inf)), ValueError, "patterns has entries that are not finite"),
        (lambda: DenseBoltzmannMachine(torch.ones(1, 17)).states(), ValueError, r"spins: 17 have 2\*\*17 states"),
        (lambda: DenseBoltzmannMachine(torch.ones(1, 3)).spin_means(torch.ones(2, 3)), ValueError, r"h must have shape \(batch, 1\), got \(2, 3\)"),
        (lambda: score_at(random_machine(0), normal(0, 1, 2), 0.0), ValueError, "noise must be positive"),
        (lambda: score_at(None, normal(0, 1, 2), 1.0), TypeError, "machine must be an AttentionalBoltzmannMachine, got NoneType"),
        (lambda: denoising_loss(random_machine(0), normal(0, 1, 3), normal(0, 1, 2), 1.0), ValueError, r"clean must have shape \(batch, 2\)"),
        (lambda: smoothed_score(normal(0, 4, 2), normal(0, 1, 3), 1.0), ValueError, r"v must have shape \(batch, 2\)"),
        (lambda: smoothed_score([1.0], normal(0, 1, 3), 1.0), TypeError, "data must be a floating-point tensor"),
        (lambda: GaussianBernoulliRBM(None), TypeError, "machine must be an AttentionalBoltzmannMachine, got NoneType"),
        (lambda: GaussianBernoulliRBM(random_machine(0)).update(normal(0, 1, 3)), ValueError, r"v must have shape \(batch, 2\)"),
        (lambda: GaussianBernoulliRBM(random_machine(0)).energy(normal(0, 1, 2), normal(0, 1, 2)), ValueError, r"h must have shape \(batch, 3\)"),
        (lambda: as_memory(3), TypeError, "machine must be an AttentionalBoltzmannMachine, got int"),
        (lambda: joint_energy(random_machine(0), normal(0, 1, 2), normal(0, 1, 2)), ValueError, r"h must have shape \(batch, 3\)"),
    ],
)
def test_errors_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
