"""What the chapter claims, measured (page: book/memory/attention.md)."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hopmix.claim import Evidence, claim
from hopmix.memory.attention.bounds import energy_floor, retrieval_bound, retrieval_guarantee, separation, spread
from hopmix.memory.attention.capacity import critical_patterns, enumerated_error, one_step_error, sphere_patterns
from hopmix.memory.attention.dense import dense_memory, random_patterns
from hopmix.memory.attention.experiment import measured_error, measured_sphere_capacity, stored_digits, unit_vectors
from hopmix.memory.attention.metastable import critical_inverse_temperature, fixed_points
from hopmix.memory.attention.models import modern_hopfield, two_layer_memory
from hopmix.memory.lagrangian import Power, Softmax, Spherical

SEEDS = tuple(range(16))
_TEMPERATURES = (0.3, 2.0, 10.0)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1000 * seed + len(shape) + shape[0]), dtype=torch.float64)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest entry of the second."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@claim(
    statement=r"One step of the two-layer memory is softmax attention with the patterns as keys, and the patterns or any others as values.",
    source="ramsauer2021hopfield; krotov2021large", kind="identity",
)
def step_is_attention() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        keys, values, queries = _normal(seed, 30, 12), _normal(seed, 31, 12)[1:], _normal(seed, 20, 12)
        for beta, other in product((*_TEMPERATURES, 1 / math.sqrt(12)), (None, values)):
            found = modern_hopfield(keys, beta, other).step(queries, leak=True)
            worst = max(worst, relative(found, scaled_dot_product_attention(queries[None], keys[None], (keys if other is None else other)[None], scale=beta)[0]))
    return Evidence.at_most("largest relative difference to torch's scaled_dot_product_attention, float64", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"With fast hidden neurons its energy is $\frac12|x|^2-\frac1\beta\log\sum_\mu e^{\beta\xi_\mu\cdot x}$.",
    source="ramsauer2021hopfield; krotov2021large", kind="identity",
)
def energy_is_log_sum_exp() -> Evidence:
    worst = 0.0
    for seed, beta in product(SEEDS, _TEMPERATURES):
        keys, x = _normal(seed, 30, 12), _normal(seed, 20, 12)
        found, expected = modern_hopfield(keys, beta).energy(x), x.square().sum(1) / 2 - torch.logsumexp(beta * x @ keys.mT, 1) / beta
        slow = modern_hopfield(keys, beta, hidden_time_constant=1.0).energy({"visible": x, "hidden": x @ keys.mT})
        worst = max(worst, relative(found, expected), relative(slow, expected))
    return Evidence.at_most("largest relative difference, also for slow hidden neurons at their drive", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"With a spherical visible layer and hidden neurons that do not compete the energy is $-\sum_\mu\Phi(\xi_\mu\cdot x/|x|)$, and it never rises along the flow.",
    source="krotov2021large", kind="identity",
)
def spherical_dense_energy() -> Evidence:
    worst, rise = 0.0, -math.inf
    for seed in SEEDS:
        keys, x = _normal(seed, 30, 12), _normal(seed, 20, 12)
        memory = two_layer_memory(keys, Spherical(eps=0.0), Power(4.0))
        expected = -((x / x.norm(dim=1, keepdim=True)) @ keys.mT).pow(4).sum(1) / 4
        _, states = memory.flow(x, 0.1, 40)
        energies = memory.energy(states.flatten(0, 1)).reshape(41, -1)
        worst, rise = max(worst, relative(energies[0], expected)), max(rise, float((energies.diff(dim=0) / energies[0].abs()).max()))
    detail = f"largest relative change of the energy between two points of a flow: {rise:.1e}"
    return Evidence.at_most("largest relative difference of the energy, and rise along the flow", max(worst, rise), 1e-13, seeds=SEEDS, detail=detail)


@claim(
    statement=r"A step of size $\eta$ lowers the energy by exactly $(\frac1\eta-\frac12)|y-x|^2+\frac1\beta D_{\mathrm{KL}}$.",
    source="this book", kind="identity",
)
def energy_drop() -> Evidence:
    worst = 0.0
    for seed, beta, eta in product(SEEDS, _TEMPERATURES, (0.3, 1.0, 1.9, 3.0)):
        keys, x = _normal(seed, 30, 12), _normal(seed, 20, 12)
        memory = modern_hopfield(keys, beta)
        y = memory.step(x, eta, leak=True)
        before, after = (torch.log_softmax(beta * state @ keys.mT, 1) for state in (x, y))
        expected = (1 / eta - 0.5) * (y - x).square().sum(1) + (before.exp() * (before - after)).sum(1) / beta
        worst = max(worst, float(((memory.energy(x) - memory.energy(y) - expected).abs() / (memory.energy(x).abs() + memory.energy(y).abs() + expected.abs())).max()))
    return Evidence.at_most("largest difference to the energies, relative to their sizes", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"So no step with $0<\eta\le2$ raises the energy.",
    source="this book", kind="theorem",
)
def no_step_up_to_two_raises_the_energy() -> Evidence:
    rises, beyond = [], 0
    for seed, beta in product(SEEDS, _TEMPERATURES):
        memory, x = modern_hopfield(_normal(seed, 30, 12), beta), 3 * _normal(seed, 20, 12)
        energy = memory.energy(x)
        rises += [float(((memory.energy(memory.step(x, eta, leak=True)) - energy) / energy.abs()).max()) for eta in (0.01, 0.5, 1.0, 1.5, 2.0)]
        beyond += int((memory.energy(memory.step(x, 3.0, leak=True)) > energy).sum())
    detail = f"with a step of 3 it rises in {beyond} of {20 * len(SEEDS) * len(_TEMPERATURES)}"
    return Evidence.at_most("largest relative change of the energy in one step", max(rises), 1e-14, seeds=SEEDS, detail=detail)


@claim(
    statement="With values that are not the keys the rate of the energy has further terms, and can have either sign.",
    source="this book", kind="identity",
)
def rate_with_values() -> Evidence:
    worst, rising, count = 0.0, 0, 0
    for seed, beta in product(SEEDS, _TEMPERATURES):
        keys, values, x = _normal(seed, 30, 12), _normal(seed, 31, 12)[1:], _normal(seed, 20, 12)
        memory = modern_hopfield(keys, beta, values)
        query = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(memory.energy(query).sum(), query)
        velocity = memory.velocity(x)
        rate = memory.energy_rate(x)
        worst = max(worst, relative(rate, (gradient * velocity).sum(1)))
        rising, count = rising + int((rate > 0).sum()), count + len(rate)
    both_signs = 0 < rising < count
    what = "largest relative difference to autograd; infinite if the rate has one sign alone"
    return Evidence.at_most(what, worst if both_signs else math.inf, 1e-12, seeds=SEEDS, detail=f"the energy rises in {rising} of {count} random states")


@claim(
    statement=r"With the constant $\frac1\beta\log K+\frac12M^2$ the energy lies between $0$ and $2M^2$ where $|x|\le M$.",
    source="ramsauer2021hopfield; this book", kind="theorem",
)
def energy_bounds() -> Evidence:
    low, high = math.inf, -math.inf
    for seed, beta in product(SEEDS, (0.01, *_TEMPERATURES)):
        keys = _normal(seed, 30, 4)
        largest = keys.norm(dim=1).max()
        x = torch.cat([unit_vectors(500, 4, torch.Generator().manual_seed(seed)) * largest * torch.linspace(0, 1, 500, dtype=torch.float64)[:, None], -keys])
        energy = (modern_hopfield(keys, beta).energy(x) + energy_floor(keys, beta)) / largest**2
        low, high = min(low, float(energy.min())), max(high, float(energy.max()))
    return Evidence.between("the energy in units of $M^2$ that lies deepest outside [0, 2], or else its largest", low if low < 0 else high, 0.0, 2.0, seeds=SEEDS, detail=f"from {low:.3f} to {high:.3f}")


def _instances(seed: int):
    """Patterns of unequal length, inverse temperatures, and states at all distances from each of them."""
    keys = _normal(seed, 20, 16) * (1 + 0.2 * _normal(seed, 20, 1))
    directions = unit_vectors(400, 16, torch.Generator().manual_seed(seed)).reshape(20, 20, 16)
    for beta, distance in product((0.1, 0.5, 1.0, 2.0), (0.0, 0.1, 0.5, 1.5)):
        yield keys, beta, distance, keys[:, None] + distance * directions  # (patterns, states, neurons)


@claim(
    statement=r"After one step from $x$ the distance to a pattern keeps both bounds of the theorem, the sum over pairs and the worst pair.",
    source="ramsauer2021hopfield; this book", kind="theorem",
)
def retrieval_bound_holds() -> Evidence:
    worst, sharp, count = 0.0, 0.0, 0
    for seed in SEEDS:
        for keys, beta, distance, x in _instances(seed):
            error = (modern_hopfield(keys, beta).step(x.flatten(0, 1), leak=True).reshape(x.shape) - keys[:, None]).norm(dim=2).amax(1)
            # A bound may lie below rounding, the error cannot.
            rounding = 1e-14 * keys.norm(dim=1).max()
            worst = max(worst, float((error / (retrieval_bound(keys, beta, distance) + rounding)).max()))
            sharp = max(sharp, float((error / (retrieval_bound(keys, beta, distance, pairs=True) + rounding)).max()))
            count += x.shape[0] * x.shape[1]
    detail = f"{count} states; sum over pairs {sharp:.3f}, worst pair {worst:.3f}"
    return Evidence.at_most("largest error over bound", max(worst, sharp), 1 + 1e-9, seeds=SEEDS, detail=detail)


@claim(
    statement="The bound is sharp for two patterns: the ratio tends to one at low temperature.",
    source="this book", kind="theorem",
)
def retrieval_bound_is_sharp() -> Evidence:
    ratios = []
    for seed in SEEDS:
        keys = unit_vectors(2, 8, torch.Generator().manual_seed(seed))
        towards = (keys.flip(0) - keys) / spread(keys)[:, None]
        beta, distance = 20.0 / float(separation(keys).min()), 0.1 * float(spread(keys).min())
        error = (modern_hopfield(keys, beta).step(keys + distance * towards, leak=True) - keys).norm(dim=1)
        ratios.append(float((error / retrieval_bound(keys, beta, distance)).min()))
    return Evidence.at_least("smallest error over bound, from states between two patterns", min(ratios), 1 - 1e-6, seeds=SEEDS)


@claim(
    statement=r"Where $e\beta D^2(K-1)e^{-\beta\Delta}<1$, all states within $1/(\beta D)$ of the pattern converge to one fixed point, at most $eD(K-1)e^{-\beta\Delta}$ from it.",
    source="this book", kind="theorem",
)
def guaranteed_fixed_points() -> Evidence:
    worst, cases = 0.0, 0
    for seed in SEEDS:
        keys = _normal(seed, 20, 16)
        for beta in (0.7, 1.0, 2.0, 4.0):
            safe = retrieval_guarantee(keys, beta) < 1
            if not bool(safe.any()):
                continue
            radius, bound = 1 / (beta * spread(keys)[safe]), math.e * retrieval_bound(keys, beta)[safe]
            # Half of the starts lie on the ball's surface, half inside.
            depth = torch.tensor([1.0, 0.5], dtype=torch.float64).repeat(5)[:, None]
            start = keys[safe][:, None] + radius[:, None, None] * depth * unit_vectors(10, 16, torch.Generator().manual_seed(seed))
            end = fixed_points(keys, beta, start.flatten(0, 1), tolerance=1e-13).reshape(start.shape)
            scatter = (end - end[:, :1]).norm(dim=2).amax(1) / keys.norm(dim=1).max()
            distance = (end - keys[safe][:, None]).norm(dim=2).amax(1)
            # Fixed points are found to rounding: that much is allowed beyond a bound that may be smaller.
            worst = max(worst, float((distance / (bound + 1e-11)).max()), float(scatter.max() / 1e-11))
            cases += len(bound)
    # Without a pattern that the theorem speaks of there is nothing to measure.
    return Evidence.at_most("largest distance of a fixed point over its bound, or scatter over 1e-11", worst if cases else math.nan, 1.0, seeds=SEEDS, detail=f"{cases} patterns, 10 starts each")


@claim(
    statement=r"Where $\beta$ times the square of the largest distance between patterns is below 4, there is one fixed point for all of them.",
    source="this book", kind="theorem",
)
def one_fixed_point_at_high_temperature() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        keys = _normal(seed, 20, 6)
        end = fixed_points(keys, 3.9 / float(spread(keys).max()) ** 2, torch.cat([keys, 5 * _normal(seed, 30, 6)]), tolerance=1e-13)
        worst = max(worst, relative(end, end[:1].expand_as(end)))
    return Evidence.at_most("largest relative difference between fixed points, from 50 starts", worst, 1e-11, seeds=SEEDS)


@claim(
    statement=r"On balanced digits a small deviation from their mean grows by the factor $\beta/\beta_c$ in each step, with $\beta_c$ one over the largest eigenvalue of the covariance.",
    source="this book", kind="theorem",
)
def mean_becomes_unstable() -> Evidence:
    worst, scales = 0.0, []
    for seed in SEEDS:
        patterns, _ = stored_digits(200, torch.Generator().manual_seed(seed))
        critical = critical_inverse_temperature(patterns)
        scales.append(critical)
        leading = torch.linalg.svd(patterns, full_matrices=False).Vh[:1]
        for factor in (0.5, 0.95, 1.05, 2.0):
            moved = modern_hopfield(patterns, factor * critical).step(1e-6 * leading, leak=True)
            worst = max(worst, abs(float(moved.norm()) / 1e-6 - factor))
    return Evidence.at_most("largest difference between the growth in one step and the factor", worst, 1e-5, seeds=SEEDS, detail=f"critical inverse temperature {np.mean(scales):.2f}, standard deviation {np.std(scales, ddof=1):.2f}")


@claim(
    statement="A dense memory's cost of a flip is the difference of two energies.",
    source="krotov2016dense; demircigil2017model", kind="identity",
)
def flip_cost_is_an_energy_difference() -> Evidence:
    worst = 0.0
    for seed, degree in product(SEEDS, (2, 3, 4, 5, None)):
        patterns = random_patterns(40, 9, seed)
        memory, state = dense_memory(patterns, degree), random_patterns(5, 9, 100 + seed)
        flipped = (state[:, None] * (1 - 2 * torch.eye(9, dtype=torch.float64))).flatten(0, 1)
        expected = memory.energy(flipped).reshape(5, 9) - memory.energy(state)[:, None]
        worst = max(worst, float((memory.flip_cost(state) - expected).abs().max() / memory.energy(state).abs().max()))
    return Evidence.at_most("largest difference relative to the energy, degrees 2 to 5 and exponential", worst, 1e-13, seeds=SEEDS)


@claim(
    statement="The law of the one-step error is exact: it equals enumeration of all patterns.",
    source="this book", kind="identity",
)
def error_law_is_exact() -> Evidence:
    cases = ((3, 2, 2), (4, 3, 2), (5, 4, 3), (4, 5, 3), (5, 4, 4), (6, 3, 4), (4, 4, 5))
    worst = max(abs(one_step_error(*case) - enumerated_error(*case)) for case in cases)
    return Evidence.at_most("largest difference of the probabilities, seven small memories", worst, 1e-12)


@claim(
    statement="Simulated memories of degree 2, 3, 4 and exponential err as often as the exact law says.",
    source="krotov2016dense; demircigil2017model; this book", kind="simulation",
)
def error_law_matches_simulation() -> Evidence:
    deviations, words = [], []
    for neurons, patterns, degree in ((100, 20, 2), (40, 110, 3), (40, 740, 4), (16, 1500, None)):
        errors = np.array([measured_error(neurons, patterns, degree, torch.Generator().manual_seed(seed), 4000) for seed in SEEDS])
        spread_, exact = errors.std(ddof=1) / math.sqrt(len(SEEDS)), one_step_error(neurons, patterns, degree)
        deviations.append(abs(errors.mean() - exact) / spread_)
        words.append(f"{degree or 'exp'}: {errors.mean():.4f} +- {spread_:.4f}, law {exact:.4f}, normal noise {one_step_error(neurons, patterns, degree, 'gaussian'):.2g}")
    return Evidence.at_most("largest deviation", max(deviations), 4.0, unit="s.e.", seeds=SEEDS, detail="; ".join(words))


@claim(
    statement="The number of patterns of a dense memory at a fixed error grows like $N^{n-1}$.",
    source="krotov2016dense", kind="theorem",
)
def polynomial_capacity() -> Evidence:
    slopes = {n: math.log2(critical_patterns(2 * size, n) / critical_patterns(size, n)) for n, size in ((2, 400), (3, 120), (4, 120))}
    small = math.log(critical_patterns(26, 4) / critical_patterns(10, 4)) / math.log(2.6)
    detail = ", ".join(f"n={n}: {slope:.3f}" for n, slope in slopes.items()) + f"; n=4 between 10 and 26 neurons: {small:.2f}"
    return Evidence.at_most("largest difference to n-1 of the exact law's local exponent, at 400 (n=2) and 120 neurons", max(abs(slope - n + 1) for n, slope in slopes.items()), 0.02, detail=detail)


@claim(
    statement=r"With the exponential energy the number of patterns at a fixed error grows like $(e^2/\cosh2)^N$, $0.974$ bits per neuron, from hundreds of neurons on.",
    source="demircigil2017model; this book", kind="theorem",
)
def exponential_capacity() -> Evidence:
    expected = (2 - math.log(math.cosh(2))) / math.log(2)
    found = _bits_per_neuron(320, 640)
    detail = f"{expected:.4f} expected; {found:.4f} between 320 and 640 neurons, {_bits_per_neuron(80, 160):.4f} between 80 and 160"
    return Evidence.at_most("difference in bits per neuron, exact law between 320 and 640 neurons", abs(found - expected), 2e-3, detail=detail)


def _bits_per_neuron(low: int, high: int) -> float:
    return math.log2(critical_patterns(high, None) / critical_patterns(low, None)) / (high - low)


@claim(
    statement="At the sizes of a simulation the exponential energy gains one bit per neuron, nearer than to the asymptotic $0.974$.",
    source="this book", kind="finding",
)
def one_bit_at_first() -> Evidence:
    found, middle = _bits_per_neuron(16, 40), (1 + (2 - math.log(math.cosh(2))) / math.log(2)) / 2
    return Evidence.between("bits per neuron, exact law between 16 and 40 neurons", found, middle, 2 - middle)


@claim(
    statement=r"Attention on the sphere holds $\sqrt{1-t_*^4}\,e^{\alpha_cN}$ patterns, up to a factor $1+O(1/N)$.",
    source="this book", kind="theorem",
)
def sphere_prefactor() -> Evidence:
    def difference(neurons: int, kappa: float) -> float:
        return math.log(sphere_patterns(neurons, kappa) / sphere_patterns(neurons, kappa, "asymptotic"))

    exponents = [math.log2(difference(n, kappa) / difference(2 * n, kappa)) for n in (50, 100, 200) for kappa in (0.5, 1.0, 2.0)]
    detail = ", ".join(f"kappa {kappa:g}: N times the difference at 400 is {400 * difference(400, kappa):.3f}" for kappa in (0.5, 1.0, 2.0))
    # The next term of the series changes an exponent a little: it has to be nearer to 1 than to 1/2 and 3/2.
    return Evidence.between("exponent of 1/N with which the difference of the logarithms falls, N from 50 to 400, the one farthest from 1", max(exponents, key=lambda e: abs(e - 1)), 0.75, 1.25, detail=detail)


@claim(
    statement="Simulated capacities on the sphere are those of the exact first-passage law.",
    source="this book", kind="simulation",
)
def sphere_matches_simulation() -> Evidence:
    deviations, words = [], []
    for neurons, kappa in ((20, 0.5), (12, 1.0), (9, 2.0)):
        found = np.array([measured_sphere_capacity(neurons, kappa, 8, torch.Generator().manual_seed(seed)) for seed in SEEDS])
        spread_, exact = found.std(ddof=1) / math.sqrt(len(SEEDS)), sphere_patterns(neurons, kappa)
        deviations.append(abs(found.mean() - exact) / spread_)
        words.append(f"kappa {kappa:g}, N {neurons}: {found.mean():.0f} +- {spread_:.0f}, law {exact:.0f}")
    return Evidence.at_most("largest deviation", max(deviations), 4.0, unit="s.e.", seeds=SEEDS, detail="; ".join(words))
