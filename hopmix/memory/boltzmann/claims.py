"""What the chapter claims, measured: likelihood, memory, neighbours and training (page: book/memory/boltzmann.md)."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.integrate import dblquad, quad
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.memory.boltzmann.dense import DenseBoltzmannMachine
from hopmix.memory.boltzmann.denoising import denoising_loss, divergence, implicit_loss, score_at, smoothed_score
from hopmix.memory.boltzmann.experiment import Config, dense_machine, digits, enumerated, fit_all, pairs
from hopmix.memory.boltzmann.fit import em_step, fit_em
from hopmix.memory.boltzmann.grid import grid_of, total_variation
from hopmix.memory.boltzmann.machine import AttentionalBoltzmannMachine
from hopmix.memory.boltzmann.mixture import power_mixture
from hopmix.memory.boltzmann.model_b import as_memory, joint_energy
from hopmix.memory.boltzmann.rbm import GaussianBernoulliRBM, dilute_rate

SEEDS = tuple(range(16))


def random_machine(seed: int, visible: int = 2, hidden: int = 3, beta: float = 1.3) -> AttentionalBoltzmannMachine:
    """All parameters normal, the biases included, without gradients."""
    stream = torch.Generator().manual_seed(seed)
    shapes = ((hidden, visible), (visible,), (hidden,))
    values = [torch.randn(shape, generator=stream, dtype=torch.float64) for shape in shapes]
    return AttentionalBoltzmannMachine.from_weights(*values, inverse_temperature=beta).requires_grad_(False)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed), dtype=torch.float64)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference between two tensors, relative to the largest entry of the second or to one."""
    return float(((found - expected).abs().max() / expected.abs().max().clamp_min(1)).detach())


@claim(statement=r"The partition function, a sum over hidden units in closed form, is the integral of $e^{-\beta E}$ over the plane.", source="this book", kind="identity")
def partition_function() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine = random_machine(seed)
        v, area = grid_of(machine)
        worst = max(worst, abs(math.log(float((-machine.inverse_temperature * machine.energy(v)).exp().sum() * area)) - float(machine.log_partition())))
    machine = random_machine(0)
    weight, b, c, beta = *(p.numpy() for p in machine.parameters()), machine.inverse_temperature

    def density(y: float, x: float) -> float:
        v = np.array([x, y])
        return np.exp(-beta * ((v - b) ** 2).sum() / 2) * np.exp(beta * (weight @ v + c)).sum()

    adaptive = abs(math.log(dblquad(density, -9, 9, -9, 9, epsabs=1e-9, epsrel=1e-9)[0]) - float(machine.log_partition()))
    detail = f"log Z; machine of seed 0 also by adaptive quadrature: {adaptive:.1e}"
    return Evidence.at_most("largest difference of log Z to quadrature on a grid, two visible and three hidden units", max(worst, adaptive), 1e-9, seeds=SEEDS, detail=detail)


@claim(statement="The machine is a mixture of Gaussians, every mixture with one spherical covariance is a machine, and the visible bias may be chosen at will.", source="this book", kind="identity")
def mixture_identity() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7), normal(seed, 20, 5)
        mixture = machine.as_mixture()
        components = torch.distributions.Independent(torch.distributions.Normal(mixture.means, mixture.precision**-0.5), 1)
        expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(mixture.weights), components).log_prob(v)
        for bias in (None, normal(seed + 50, 5)):
            again = AttentionalBoltzmannMachine.from_mixture(mixture, bias)
            worst = max(worst, relative(again.log_likelihood(v), expected))
        worst = max(worst, relative(machine.log_likelihood(v), expected))
    return Evidence.at_most("largest relative difference of the log-likelihood to torch's mixture, and after going there and back", worst, 1e-12, seeds=SEEDS)


@claim(statement="The gradients of the log-likelihood have the stated closed form.", source="this book", kind="identity")
def likelihood_gradient() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7).requires_grad_(True), normal(seed, 20, 5)
        expected = torch.autograd.grad(machine.log_likelihood(v).mean(), list(machine.parameters()))
        worst = max(worst, *(relative(found, e) for found, e in zip(machine.gradient(v).values(), expected, strict=True)))
    return Evidence.at_most("largest relative difference to autograd", worst, 1e-13, seeds=SEEDS)


@claim(statement=r"Samples have the moment that the gradient asks for, $\langle r_\mu v_i\rangle=p_\mu(b_i+W_{\mu i})$.", source="this book", kind="simulation")
def sampled_moments() -> Evidence:
    machine = random_machine(3, visible=3, hidden=3)
    found = []
    for seed in SEEDS:
        v = machine.sample(2000, seed)
        found.append((machine.responsibilities(v).mT @ v / len(v)).numpy())
    mixture = machine.as_mixture()
    deviation = np.mean(found, 0) - (mixture.weights[:, None] * mixture.means).numpy()
    z = np.abs(deviation) / (np.std(found, 0, ddof=1) / np.sqrt(len(SEEDS)))
    return Evidence.at_most("largest deviation among the nine moments, in standard errors over seeds of 2000 samples", z.max(), 4.0, seeds=SEEDS)


@claim(statement=r"With missing values, attention with the chapter's two additional biases is the exact conditional mean, and the observed entries have the stated likelihood.", source="this book", kind="identity")
def conditional_mean() -> Evidence:
    worst = 0.0
    line = torch.linspace(-14, 14, 4001, dtype=torch.float64)
    for seed in SEEDS:
        machine, v = random_machine(seed), normal(seed, 1, 2)
        observed = torch.tensor([True, False])
        density = machine.log_likelihood(torch.stack([v[0, 0].expand(len(line)), line], 1)).exp()
        mass, step = density.sum(), float(line[1] - line[0])
        worst = max(worst, abs(float(machine.reconstruct(v, observed)[0, 1] - (density * line).sum() / mass)))
        worst = max(worst, abs(float(machine.log_likelihood(v, observed)[0] - (mass * step).log())))
    return Evidence.at_most("largest difference to quadrature over the missing entry", worst, 1e-11, seeds=SEEDS)


@claim(statement=r"The memory with a linear visible and a fast softmax layer has the energy $E-\frac12|b|^2$; its leaky step is the machine's mean-field update, and without biases scaled dot-product attention.", source="krotov2021large; this book", kind="identity")
def memory_energy() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7), normal(seed, 20, 5)
        memory, x = as_memory(machine), v - machine.visible_bias
        worst = max(worst, relative(memory.energy(x), machine.energy(v) - machine.visible_bias.square().sum() / 2))
        worst = max(worst, relative(memory.step(x, leak=True) + machine.visible_bias, machine.update(v)))
        bare = AttentionalBoltzmannMachine.from_weights(machine.weight, inverse_temperature=machine.inverse_temperature).requires_grad_(False)
        attention = torch.nn.functional.scaled_dot_product_attention(v, bare.weight, bare.weight, scale=machine.inverse_temperature)
        worst = max(worst, relative(bare.update(v), attention))
    return Evidence.at_most("largest relative difference of energies and steps", worst, 1e-12, seeds=SEEDS)


@claim(statement="One attention step never raises the energy.", source="this book", kind="simulation")
def attention_descends() -> Evidence:
    rises = []
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7), 3 * normal(seed, 200, 5)
        rises.append(float((machine.energy(machine.update(v)) - machine.energy(v)).max()))
    return Evidence.at_most("largest change of the energy in one step, 200 states each", max(rises), 0.0, seeds=SEEDS)


@claim(statement=r"The joint energy of the memory exceeds $E(v)$ by $\mathrm{KL}(f\|r)/\beta$, which never exceeds $-\log(\min_\mu r_\mu)/\beta$, however large $h$ is.", source="this book", kind="identity")
def joint_energy_is_divergence() -> Evidence:
    worst, bounded = 0.0, True
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7), normal(seed, 40, 5)
        h = normal(seed + 50, 40, 7) * torch.logspace(-2, 4, 40, dtype=torch.float64)[:, None]
        excess = joint_energy(machine, v, h) - machine.energy(v)
        beta, r = machine.inverse_temperature, machine.responsibilities(v)
        log_f = torch.log_softmax(beta * (h + machine.hidden_bias), 1)
        divergence_ = torch.where(log_f > -700, log_f.exp() * (log_f - r.log()), 0.0).sum(1)
        # h of 10^4 cancels in the energy: rounding is relative to its size.
        worst = max(worst, float(((excess - divergence_ / beta).abs() / (1 + h.abs().amax(1))).max()))
        bounded &= bool((excess <= -r.amin(1).log() / beta + 1e-9 * h.abs().amax(1)).all()) and bool((excess >= -1e-9 * h.abs().amax(1)).all())
        dynamic = as_memory(machine, hidden_time_constant=1.0).energy({"visible": v - machine.visible_bias, "hidden": h})
        worst = max(worst, float(((dynamic + machine.visible_bias.square().sum() / 2 - joint_energy(machine, v, h)).abs() / (1 + h.abs().amax(1))).max()))
    return Evidence.at_most("largest difference, relative to the size of h; infinite if a bound is broken", worst if bounded else math.inf, 1e-12, seeds=SEEDS)


@claim(statement=r"$e^{-\beta E(v,h)}$ has no finite integral over $h$: over a square of half side $R$ it grows like $R^M$.", source="this book", kind="simulation")
def joint_density_diverges() -> Evidence:
    slopes = []
    for seed in SEEDS:
        machine, v = random_machine(seed, hidden=2), normal(seed, 1, 2)

        def mass(half_side: float, machine=machine, v=v) -> float:
            # The density depends on h_1 - h_2 alone, which has length 2 R - |difference| in the square.
            u = torch.linspace(-2 * half_side, 2 * half_side, 40001, dtype=torch.float64)
            density = (-machine.inverse_temperature * joint_energy(machine, v.expand(len(u), 2), torch.stack([u, torch.zeros_like(u)], 1))).exp()
            return float(torch.trapezoid(density * (2 * half_side - u.abs()), u))

        slopes.append(math.log2(mass(2000.0) / mass(1000.0)))
    return Evidence.between("exponent of R between 1000 and 2000, two hidden units", float(np.mean(slopes)), 1.99, 2.01, seeds=SEEDS, spread=float(np.std(slopes, ddof=1) / 4))


@claim(statement=r"A softmax $n$ times warmer than the machine gives a mixture of $M^n$ Gaussians, $n=1,2,3$.", source="this book", kind="identity")
def warmer_softmax() -> Evidence:
    worst = 0.0
    for seed in SEEDS[:8]:
        machine = random_machine(seed)
        v, area = grid_of(machine)
        beta, chosen = machine.inverse_temperature, v[::97]
        for order in (1, 2, 3):
            log_weight = -beta * (v - machine.visible_bias).square().sum(1) / 2 + order * torch.logsumexp(beta / order * machine.fields(v), 1)
            mixture, log_partition = power_mixture(machine, order)
            worst = max(worst, abs(math.log(float(log_weight.exp().sum() * area)) - float(log_partition)))
            rows = torch.cartesian_prod(*[torch.arange(machine.hidden)] * order).reshape(-1, order)  # all M^n choices, one by one
            mean, bias = machine.weight[rows].mean(1), machine.hidden_bias[rows].mean(1)
            logits = beta * (mean.square().sum(1) / 2 + mean @ machine.visible_bias + bias)
            square = (chosen[:, None] - machine.visible_bias - mean).square().sum(2)
            expected = torch.logsumexp(torch.log_softmax(logits, 0) - beta * square / 2, 1) + math.log(beta / (2 * math.pi))
            worst = max(worst, relative(mixture.log_density(chosen), expected))
    return Evidence.at_most("largest difference of log Z to quadrature and of the log density to enumeration", worst, 1e-9, seeds=SEEDS[:8])


@claim(statement="A Gaussian–Bernoulli RBM restricted to one active unit is the attentional machine; in full it is a mixture of $2^M$ Gaussians.", source="this book", kind="identity")
def restricted_boltzmann_machine() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine = random_machine(seed)
        rbm, beta = GaussianBernoulliRBM(machine), machine.inverse_temperature
        v, area = grid_of(machine)
        chosen = v[::97]
        one_hot = torch.stack([rbm.energy(chosen, h.expand(len(chosen), 3)) for h in torch.eye(3, dtype=torch.float64)], 1)
        worst = max(worst, relative(-torch.logsumexp(-beta * one_hot, 1) / beta, machine.energy(chosen)))
        worst = max(worst, abs(math.log(float((-beta * rbm.free_energy(v)).exp().sum() * area)) - float(rbm.log_partition())))
        worst = max(worst, relative(rbm.as_mixture().log_density(chosen), -beta * rbm.free_energy(chosen) - rbm.log_partition()))
    return Evidence.at_most("largest difference of energies, of log Z to quadrature, and of log densities", worst, 1e-9, seeds=SEEDS)


@claim(statement=r"A diluted RBM, each active unit suppressed by $e^{-\kappa}$ and at least one active, differs from the attentional machine by $e^{-\kappa}(Z_2/Z_1)\,\mathrm{TV}(p_2,p_1)$ to leading order.", source="this book", kind="simulation")
def dilute_limit() -> Evidence:
    ratios = []
    for seed in SEEDS:
        rbm = GaussianBernoulliRBM(random_machine(seed))
        one, two = rbm.as_mixture(active=(1,)), rbm.as_mixture(active=(2,))
        theory = math.exp(-14) * dilute_rate(rbm) * total_variation(two, one)
        ratios.append(total_variation(rbm.dilute(14.0), one) / theory)
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    return Evidence.between(r"total variation at $\kappa=14$ over its theory, the one farthest from 1", worst, 0.99, 1.01, seeds=SEEDS)


@claim(statement=r"The score is $\beta$ times what attention changes, and its divergence has the stated form.", source="this book", kind="identity")
def score_and_divergence() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7), normal(seed, 20, 5).requires_grad_(True)
        (gradient,) = torch.autograd.grad(machine.log_likelihood(v).sum(), v)
        worst = max(worst, relative(machine.score(v.detach()), gradient))
        jacobian = torch.autograd.functional.jacobian(lambda u, m=machine: score_at(m, u, 0.7).sum(0), v.detach())
        worst = max(worst, relative(divergence(machine, v.detach(), 0.7), torch.einsum("ibi->b", jacobian)))
    return Evidence.at_most("largest relative difference to autograd", worst, 1e-12, seeds=SEEDS)


@claim(statement="Denoising, explicit and implicit score matching have the same gradient in every parameter.", source="vincent2011connection; hyvarinen2005estimation; this book", kind="identity")
def score_matching() -> Evidence:
    worst, noise = 0.0, 0.8
    line = torch.linspace(-9, 9, 1201, dtype=torch.float64)[:, None]
    for seed in SEEDS:
        machine, data = random_machine(seed, visible=1).requires_grad_(True), normal(seed, 4, 1)
        density = torch.exp(-(line - data.mT).square() / (2 * noise**2))  # (points, samples): noise around each sample
        density = density / density.sum()
        pairs = [(denoising_loss(machine, x.expand(len(line), 1), line, noise) * density[:, k]).sum() for k, x in enumerate(data)]
        explicit = ((score_at(machine, line, noise) - smoothed_score(data, line, noise)).square().sum(1) / 2 * density.sum(1)).sum()
        losses = (sum(pairs), explicit, (implicit_loss(machine, line, noise) * density.sum(1)).sum())
        first, *others = (torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(machine.parameters()))]) for loss in losses)
        worst = max(worst, *(relative(other, first) for other in others))
    return Evidence.at_most("largest relative difference of the gradients, by quadrature over the noise", worst, 1e-10, seeds=SEEDS)


@claim(statement=r"Dense machine: given $h$ the spins have mean $\tanh$; the marginal is $e^{\sum_\mu F}$ for $F=h^2/2$.", source="this book", kind="identity")
def dense_conditionals() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for order in (2, 4):
            machine = dense_machine(order, seed)
            states, h = machine.states(), normal(seed, 3, 3)
            weight = torch.stack([torch.softmax(-machine.energy(states, row.expand(len(states), 3)), 0) for row in h])
            worst = max(worst, relative(machine.spin_means(h), weight @ states))
        dense = dense_machine(2, seed)
        worst = max(worst, relative(dense.log_weight(states).softmax(0), dense.dense_memory_weight(states).softmax(0)))
    return Evidence.at_most("largest difference to enumeration of 32 states", worst, 1e-12, seeds=SEEDS)


@claim(statement=r"For $F=h^n/n$, $n=4,6$, the marginal is not $e^{\sum F}$: Laplace's method adds $\sqrt{2\pi/F''}$, with a relative error that falls like $X^{-n}$.", source="this book", kind="simulation")
def dense_laplace() -> Evidence:
    slopes, distances, gap = {}, {}, 0.0
    for order in (4, 6):
        errors = []
        for field in (3.0, 6.0):
            top = field**order / order
            direct = math.log(quad(lambda h, n=order, x=field, top=top: math.exp(h ** (n - 1) * x - (1 - 1 / n) * h**n - top), -field, 3 * field, points=[field], epsabs=0, epsrel=1e-13, limit=400)[0])
            machine = DenseBoltzmannMachine(torch.tensor([[field]], dtype=torch.float64), order)
            gap = max(gap, abs(float(machine.log_weight(torch.ones(1, 1, dtype=torch.float64))) - top - direct))
            errors.append(abs(direct - math.log(2 * math.pi / ((order - 1) * field ** (order - 2))) / 2))
        slopes[order] = math.log2(errors[0] / errors[1])
        machines = [dense_machine(order, seed) for seed in SEEDS]
        distances[order] = np.mean([float((m.log_weight(m.states()).softmax(0) - m.dense_memory_weight(m.states()).softmax(0)).abs().sum() / 2) for m in machines])
    detail = f"total variation between the marginal and exp(sum F), mean over seeds: {distances[4]:.3f} for n=4, {distances[6]:.3f} for n=6; log weight against adaptive quadrature {gap:.0e}"
    worst = max(slopes, key=lambda order: abs(slopes[order] / order - 1))
    measured = slopes[worst] / worst if gap < 1e-10 else math.nan
    return Evidence.between("exponent of the error over n, from X = 3 to 6, the one farther from 1", measured, 0.95, 1.05, seeds=SEEDS, detail=detail)


@claim(statement="Block Gibbs sampling of dense machines has the correlations of the enumerated marginal.", source="this book", kind="simulation")
def dense_gibbs() -> Evidence:
    worst, spread = 0.0, []
    for order in (2, 4):
        exact = enumerated(order).numpy()
        found = np.array([pairs(dense_machine(order, 0).gibbs(1000, 30, seed)).numpy() for seed in SEEDS])
        # A product of spins is 1 or -1, so its mean fixes its variance; chains are independent.
        error = np.sqrt((1 - exact**2) / (1000 * len(SEEDS)))
        worst = max(worst, float((np.abs(found.mean(0) - exact) / error).max()))
        spread.append(float((found.std(0, ddof=1) / (4 * error)).mean()))
    detail = f"spread over seeds is {spread[0]:.2f} (n=2) and {spread[1]:.2f} (n=4) times that of independent chains"
    return Evidence.at_most("largest deviation of 20 correlations, in standard errors of 16000 chains", worst, 4.0, seeds=SEEDS, detail=detail)


@claim(statement="The gradient of the mean log-likelihood is made of the displacement of expectation-maximisation and the unit's share.", source="this book", kind="identity")
def em_displacement() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=5, hidden=7), normal(seed, 60, 5)
        before, gradient = machine.as_mixture(), machine.gradient(v)["weight"] / machine.inverse_temperature
        em_step(machine, v)
        after = machine.as_mixture()
        expected = after.weights[:, None] * (after.means - before.means) + (after.weights - before.weights)[:, None] * before.means
        worst = max(worst, relative(gradient, expected))
    return Evidence.at_most("largest relative difference", worst, 1e-12, seeds=SEEDS)


@claim(statement="Expectation-maximisation never lowers the likelihood, and where it has converged the gradient in every parameter vanishes.", source="dempster1977maximum; this book", kind="simulation")
def em_fixed_point() -> Evidence:
    worst, fall, steps = 0.0, 0.0, 0
    for seed in SEEDS:
        machine, v = random_machine(seed, visible=3), 3 * random_machine(seed + 50, visible=3).sample(200, seed)
        history = fit_em(machine, v, 5000, tolerance=0.0)
        steps, fall = max(steps, len(history) - 1), max(fall, float(-np.diff(history).min()))
        worst = max(worst, *(float(g.abs().max()) for g in machine.gradient(v).values()))
    # A likelihood that is flat to rounding, 1e-15, has a gradient of at most about the root of that.
    detail = f"at most {steps} steps; largest fall of the mean log-likelihood {fall:.0e}"
    return Evidence.at_most("largest entry of the gradient at the end; infinite if the likelihood falls by more than 1e-13", worst if fall < 1e-13 else math.inf, 1e-6, seeds=SEEDS, detail=detail)


@claim(statement="On digits, from one random start, expectation-maximisation keeps its units and stochastic gradients lose most of them.", source="this book", kind="finding")
def winner_takes_all() -> Evidence:
    shares = {name: [] for name in ("em", "sgd")}
    for seed in SEEDS:
        found = fit_all(_TRAINING, seed, *digits(_TRAINING, seed), ("em", "sgd"))
        for name in shares:
            shares[name].append(float(found[f"{name}_live"][0]) / _TRAINING.units[0])
    difference = np.subtract(shares["em"], shares["sgd"])
    detail = f"live: EM {np.mean(shares['em']):.2f}, SGD {np.mean(shares['sgd']):.2f} of {_TRAINING.units[0]} units; {_TRAINING.epochs} epochs at rate {_TRAINING.sgd_rate}"
    return Evidence.at_least("share of live units with EM less the share with SGD", difference.mean(), 0.5, seeds=SEEDS, spread=float(difference.std(ddof=1) / 4), detail=detail)


@claim(statement="The conditional mean fills in digits better than the mean image does, and that better than zeros.", source="this book", kind="finding")
def digits_filled_in() -> Evidence:
    found = [fit_all(_TRAINING, seed, *digits(_TRAINING, seed), ("em",)) for seed in SEEDS]
    ratio = np.array([float(one["em_filled"][0] / one["mean_fill"]) for one in found])
    mean_to_zero = np.array([float(one["mean_fill"] / one["zero_fill"]) for one in found])
    worst = max((ratio, mean_to_zero), key=np.mean)
    detail = f"conditional mean over mean image {ratio.mean():.2f}, mean image over zeros {mean_to_zero.mean():.2f}; half of the pixels missing, {_TRAINING.units[0]} units"
    return Evidence.at_most("larger of the two ratios of squared errors, test digits", worst.mean(), 1.0, seeds=SEEDS, spread=float(worst.std(ddof=1) / 4), detail=detail)


_TRAINING = Config(seeds=16, units=(30,), gradient_units=(30,), em_steps=30, epochs=8)
