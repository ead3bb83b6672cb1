"""What the chapter claims, measured (page: book/memory/hopfield_mixer.md)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.memory.hierarchical import HierarchicalMemory
from hopmix.memory.hopfield_mixer.compile import to_mixer_block
from hopmix.memory.hopfield_mixer.experiment import Config, autograd_rate, embedded_digits, fast_limit, memory_of
from hopmix.memory.hopfield_mixer.gauge import skip_to_leaky
from hopmix.memory.hopfield_mixer.measure import gain_asymmetry, largest_rise_with_gain, random_memory, serial_rises, two_sided_asymmetry
from hopmix.memory.hopfield_mixer.variants import layer_per_token, split_tokens
from hopmix.memory.lagrangian import GELU, LayerNorm

SEEDS = tuple(range(16))
_CONFIG = Config(seeds=len(SEEDS), images=8)


@cache
def _digits(seed: int) -> Tensor:
    return embedded_digits(_CONFIG, seed)


def _memory(seed: int, **options) -> HierarchicalMemory:
    return memory_of(_CONFIG, seed, _digits(seed).shape[1], **options)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference between two tensors, relative to the largest entry of the second."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@claim(statement=r"The Lagrangian $\Phi_G$ of the chapter has GELU as its derivative.", source="this book", kind="identity")
def gelu_lagrangian() -> Evidence:
    def gelu(u: float) -> float:
        return u / 2 * (1 + erf(u / np.sqrt(2)))

    ends = torch.linspace(-8, 8, 65, dtype=torch.float64)
    values = GELU().value(ends[:, None]).numpy()
    integrals = [quad(gelu, 0, float(end), epsabs=1e-14, epsrel=1e-13)[0] for end in ends]
    return Evidence.at_most("largest difference to the integral of GELU by quadrature, on [-8, 8]", np.abs(values - integrals).max(), 1e-13)


@claim(statement=r"GELU's Lagrangian is not convex: its curvature is negative on the left and lowest at $u=-\sqrt2$, where it has the stated closed form.", source="this book", kind="theorem")
def gelu_not_convex() -> Evidence:
    def slope(u: float) -> float:
        x = torch.tensor(u, dtype=torch.float64, requires_grad=True)
        (derivative,) = torch.autograd.grad(torch.nn.functional.gelu(x), x)
        return float(derivative)

    found = minimize_scalar(slope, bounds=(-6, 0), method="bounded", options={"xatol": 1e-9})
    closed_form = (1 - erf(1)) / 2 - np.exp(-1) / np.sqrt(np.pi)
    difference = max(abs(found.fun - closed_form), abs(slope(-np.sqrt(2)) - closed_form))
    root = brentq(slope, -1.0, -0.5)
    return Evidence.at_most(
        "larger difference to the closed form, of the lowest slope of GELU found and of the slope at the stated place",
        difference,
        1e-12,
        detail=f"lowest slope {found.fun:.4f}, negative to the left of {root:.4f}",
    )


@claim(
    statement=r"LayerNorm with a scalar gain and any shift is the gradient of $L_v$, the joint form, and of $L_t$ with a shift, the form per token.",
    source="hoover2023energy; this book", kind="identity",
)  # fmt: skip
def layernorm_gradient() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        x = _digits(seed).clone().requires_grad_(True)
        shift = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for axes, normalised in (("joint", x.shape[1:]), ("token", x.shape[2:])):
            value = LayerNorm(axes, gain=1.7, shift=shift, eps=1e-5).value(x).sum()
            (gradient,) = torch.autograd.grad(value, x)
            worst = max(worst, relative(gradient, 1.7 * torch.nn.functional.layer_norm(x.detach(), normalised, eps=1e-5) + shift))
    return Evidence.at_most("largest relative difference between the autograd gradient and torch's layer_norm", worst, 1e-13, seeds=SEEDS)


@claim(statement=r"At $\epsilon=0$ LayerNorm's Hessian is blind to the state and to constants: $Hx=0$ and $H\mathbf 1=0$.", source="this book", kind="identity")
def layernorm_null_directions() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        # Not digits: their blank patches are constant tokens, where per-token LayerNorm needs its eps.
        x = torch.randn(4, 6, 10, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64)
        for axes, normalised in (("joint", x.shape[1:]), ("token", x.shape[2:])):
            norm = partial(torch.nn.functional.layer_norm, normalized_shape=normalised, eps=0.0)
            generic = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            scale = torch.autograd.functional.jvp(norm, x, generic)[1].norm()
            for direction in (x, torch.ones_like(x)):
                product = torch.autograd.functional.jvp(norm, x, direction)[1].norm()
                worst = max(worst, float(product / scale * generic.norm() / direction.norm()))
            worst = max(worst, relative(LayerNorm(axes, eps=0.0).hessian_product(x, generic), torch.autograd.functional.jvp(norm, x, generic)[1]))
    return Evidence.at_most("largest |H v| by autograd over that of a random v, and error of our H v", worst, 1e-12, seeds=SEEDS)


@claim(statement=r"The visible energy $x\cdot g-L_v$ is $-\gamma N\epsilon/\sqrt{\mathrm{var}(x)+\epsilon}$, zero at $\epsilon=0$.", source="this book", kind="identity")
def visible_energy() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        x = _digits(seed)
        size, variance = x[0].numel(), x.flatten(1).var(1, correction=0)
        for eps in (0.0, 1e-2, 1.0):
            norm = LayerNorm("joint", gain=1.3, eps=eps)
            found = (x * norm.activation(x)).flatten(1).sum(1) - norm.value(x)
            worst = max(worst, float((found + 1.3 * size * eps / (variance + eps).sqrt()).abs().max() / norm.value(x).abs().max()))
    return Evidence.at_most("largest difference relative to the Lagrangian", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"On digits, with symmetric synapses and adiabatic hidden layers, $\dot E=-\tau_v\,\dot x\cdot H\dot x$ all along the flow.",
    source="krotov2021hierarchical; this book", kind="identity",
)  # fmt: skip
def energy_rate_symmetric() -> Evidence:
    return Evidence.at_most("largest difference to autograd's rate, relative to the largest rate", _rate_error(asymmetry=0.0), 1e-12, seeds=SEEDS)


@claim(statement=r"With asymmetric synapses the rate gains $\dot g\cdot\Xi^-g$, and is then exact again.", source="this book", kind="identity")
def energy_rate_asymmetric() -> Evidence:
    return Evidence.at_most("largest difference to autograd's rate, relative to the largest rate", _rate_error(asymmetry=1.0), 1e-12, seeds=SEEDS)


def _rate_error(asymmetry: float) -> float:
    worst = 0.0
    for seed in SEEDS:
        memory = _memory(seed, asymmetry=asymmetry)
        _, states = memory.flow(_digits(seed), 2.0, 20)
        worst = max(worst, relative(memory.energy_rate(states.flatten(0, 1)), autograd_rate(memory, states.flatten(0, 1))))
    return worst


@claim(statement=r"The identity for $\dot E$ holds for any number of layers, twice differentiable Lagrangians, any synapses and finite time constants.", source="this book", kind="identity")
def energy_rate_any_memory() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        memory = random_memory(seed)
        state = {name: x.requires_grad_(True) for name, x in memory.random_state(batch=4, seed=seed).items()}
        gradients = torch.autograd.grad(memory.energy(state).sum(), list(state.values()))
        velocity = memory.velocity(state)
        expected = sum((gradient * velocity[name]).flatten(1).sum(1) for name, gradient in zip(state, gradients, strict=True))
        worst = max(worst, relative(memory.energy_rate(state), expected))
    return Evidence.at_most("largest relative difference to autograd, five layers, all pairs joined both ways", worst, 1e-12, seeds=SEEDS)


@claim(
    statement="With fast hidden layers the energy of the symmetric memory falls along every flow tried, from digits and with GELU, whose Lagrangian is not convex.",
    source="this book", kind="simulation",
)  # fmt: skip
def energy_descends() -> Evidence:
    rises = []
    for seed in SEEDS:
        memory = _memory(seed)
        _, states = memory.flow(_digits(seed), 2.0, 80)
        energy = memory.energy(states.flatten(0, 1)).reshape(len(states), -1)
        rises.append(float(energy.diff(dim=0).amax() / energy.abs().amax()))
    return Evidence.at_most("largest change of the energy between two points of a flow, relative", max(rises), 0.0, seeds=SEEDS)


@claim(
    statement="One leakless step of the memory with Kronecker synapses is a parallel Mixer block with tied weights, on digits, joint and per-token LayerNorm.",
    source="karakida2024hierarchical; this book", kind="identity",
)  # fmt: skip
def memory_is_mixer() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for norm in ("joint", "token"):
            for activation in ("gelu", "relu", "tanh"):
                # Embedded blank patches are constant tokens, which per-token LayerNorm meets with its eps.
                memory = _memory(seed, norm=norm, activation=activation)
                worst = max(worst, relative(to_mixer_block(memory)(_digits(seed)), memory.step(_digits(seed))))
    return Evidence.at_most("largest relative difference between block and step", worst, 1e-14, seeds=SEEDS)


@claim(
    statement="Slow hidden layers need convex Lagrangians: with a hidden time constant of one, hidden units that start where GELU's slope is negative make the energy rise; with ReLU it falls.",
    source="this book", kind="simulation",
)  # fmt: skip
def slow_gelu_raises_the_energy() -> Evidence:
    rises = {"gelu": 0, "relu": 0}
    for seed in SEEDS:
        for activation in rises:
            memory = _memory(seed, activation=activation, hidden_time_constant=1.0)
            state = _memory(seed).complete(_digits(seed)[:2])
            state = {name: x if name == "visible" else torch.full_like(x, -1.4) for name, x in state.items()}
            _, states = memory.flow(state, 0.25, 50)
            energy = memory.energy({name: x.flatten(0, 1) for name, x in states.items()}).reshape(51, -1)
            rises[activation] += bool((energy.diff(dim=0) > 1e-9 * energy.abs().amax()).any())
    return Evidence.at_least(
        "share of memories whose energy rises with GELU, less the share with ReLU",
        (rises["gelu"] - rises["relu"]) / len(SEEDS),
        1.0,
        seeds=SEEDS,
        detail=f"GELU {rises['gelu']} of {len(SEEDS)}, ReLU {rises['relu']} of {len(SEEDS)}; all hidden units start at -1.4",
    )


@claim(statement="With rank-one synapses the token memory sees only the sum of the activations over channels, the channel memory only the sum over tokens.", source="this book", kind="identity")
def rank_one_sees_the_sums() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        to_tokens, to_channels = (synapse.operator for synapse in _memory(seed, synapses="rank_one").synapses)
        g = torch.nn.functional.layer_norm(_digits(seed), _digits(seed).shape[1:])
        worst = max(worst, relative(to_tokens.apply(g).squeeze(2), g.sum(2) @ to_tokens.token.T))
        worst = max(worst, relative(to_channels.apply(g).squeeze(1), g.sum(1) @ to_channels.channel.T))
    return Evidence.at_most("largest relative difference to the drive by the sums", worst, 1e-12, seeds=SEEDS)


@claim(statement=r"A network with skip connections is the leaky one with steps $1/(s_0+\ell+1)$, up to the length of its state (at $\epsilon=0$).", source="this book", kind="identity")
def skip_is_leaky_harmonic() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for asymmetry in (0.0, 1.0):
            memory = _memory(seed, eps=0.0, asymmetry=asymmetry)
            rescaled, step_sizes = skip_to_leaky(memory.iterate(_digits(seed), [1.0] * 12))
            worst = max(worst, relative(memory.iterate(rescaled[0], step_sizes, leak=True), rescaled))
    return Evidence.at_most("largest relative difference over 12 blocks, symmetric and asymmetric", worst, 1e-12, seeds=SEEDS)


@claim(
    statement=r"The leaky network with constant step $\eta$ is one with skip connections and block $\ell$ scaled by $\eta/(1-\eta)^{\ell+1}$, for $0<\eta<1$ and up to the length of its state (at $\epsilon=0$).",
    source="this book", kind="identity",
)  # fmt: skip
def skip_is_leaky_geometric() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        memory = _memory(seed, eps=0.0)
        for eta in (0.25, 0.5):
            leaky = memory.iterate(_digits(seed), [eta] * 12, leak=True)
            scale = (1 - eta) ** -torch.arange(13, dtype=torch.float64)
            skip = memory.iterate(_digits(seed), (eta * scale[1:]).tolist())
            worst = max(worst, relative(skip / scale.view(-1, 1, 1, 1), leaky))
    return Evidence.at_most("largest relative difference over 12 blocks, step 1/4 and 1/2", worst, 1e-12, seeds=SEEDS)


@claim(
    statement=r"At $\epsilon=0$ the leakless flow at time $s$, divided by $s_0+s$, is the leaky flow at time $\log((s_0+s)/s_0)$ that starts from the same state divided by $s_0$.",
    source="this book", kind="identity",
)  # fmt: skip
def flow_gauge() -> Evidence:
    end, start, seeds, worst = 1.0, 0.5, SEEDS[:4], 0.0
    for seed in seeds:
        memory, x = _memory(seed, eps=0.0), _digits(seed)[:2]
        _, leakless = memory.flow(x, end, 400, leak=False)
        _, leaky = memory.flow(x / start, float(np.log((start + end) / start)), 400)
        worst = max(worst, relative(leakless[-1] / (start + end), leaky[-1]))
    return Evidence.at_most("largest relative difference, 400 Runge-Kutta steps each", worst, 1e-9, seeds=seeds, detail="integration error included")


@claim(
    statement=r"The memory with hidden time constant $\theta$, its hidden layers started at their drive, approaches the adiabatic one in proportion to $\theta$.",
    source="karakida2024hierarchical; this book", kind="simulation",
)  # fmt: skip
def adiabatic_limit() -> Evidence:
    seeds = SEEDS[:8]
    config = replace(_CONFIG, fast_time=0.5, fast_steps=100)
    orders = [fast_limit(config, seed, _digits(seed)[:2])["fast_order"] for seed in seeds]
    spread = float(np.std(orders, ddof=1) / np.sqrt(len(orders)))
    return Evidence.between("order of the distance in the time constant, extrapolated from the slopes between three of them", float(np.mean(orders)), 0.95, 1.05, seeds=seeds, spread=spread)


@claim(statement="With tied weights the block's two branches are a gradient in the activations: their Jacobian is symmetric.", source="this book", kind="identity")
def tied_jacobian_symmetric() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        block = to_mixer_block(_memory(seed))
        g = torch.nn.functional.layer_norm(_digits(seed)[:1, :, :], _digits(seed).shape[1:])
        jacobian = torch.autograd.functional.jacobian(lambda z, b=block: b.token_mixing(z) + b.channel_mixing(z), g).reshape(g.numel(), g.numel())
        worst = max(worst, float((jacobian - jacobian.T).norm() / jacobian.norm()))
    return Evidence.at_most("largest relative antisymmetric part of the Jacobian", worst, 1e-13, seeds=SEEDS)


@claim(
    statement="The memory with LayerNorm per token is one with a layer for each token: same energy, same rate, same velocity, with symmetric synapses and without.",
    source="this book", kind="identity",
)  # fmt: skip
def token_layers() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for asymmetry in (0.0, 1.0):
            memory, x = _memory(seed, norm="token", asymmetry=asymmetry), _digits(seed)
            apart, state = layer_per_token(memory), split_tokens(x)
            velocity = torch.cat(list(apart.velocity(state).values()), dim=1)
            for found, expected in ((velocity, memory.velocity(x)), (apart.energy(state), memory.energy(x)), (apart.energy_rate(state), memory.energy_rate(x))):
                worst = max(worst, relative(found, expected))
    return Evidence.at_most("largest relative difference, on digits", worst, 1e-12, seeds=SEEDS)


@claim(statement="A gain for each entry makes LayerNorm's Jacobian asymmetric by the stated amount, so that no Lagrangian has it as its gradient.", source="this book", kind="identity")
def elementwise_gain_breaks_symmetry() -> Evidence:
    errors, sizes = zip(*map(gain_asymmetry, SEEDS), strict=True)
    return Evidence.at_most(
        "largest difference between the antisymmetric part by autograd and by the formula, relative to the Jacobian",
        max(errors), 1e-13, seeds=SEEDS, detail=f"the antisymmetric part itself, gain 1 + 0.3 normal: {np.mean(sizes):.3f} of the Jacobian, from {min(sizes):.3f} to {max(sizes):.3f}",
    )  # fmt: skip


@claim(statement="With the gain in the synapses, before the branches and once more behind them, the drive is a gradient in the normalised state again.", source="this book", kind="identity")
def gain_on_both_sides() -> Evidence:
    one, both = zip(*map(two_sided_asymmetry, SEEDS), strict=True)
    return Evidence.at_most(
        "largest antisymmetric part of the drive's Jacobian, relative",
        max(both), 1e-13, seeds=SEEDS, detail=f"with the gain before the branches alone from {min(one):.3f} to {max(one):.3f}",
    )  # fmt: skip


@claim(statement="With a gain for each entry before the branches alone, the interaction energy rises along flows; with the gain on both sides it does not.", source="this book", kind="simulation")
def elementwise_gain_raises_the_energy() -> Evidence:
    one, both = (np.array([largest_rise_with_gain(seed, two_sided) for seed in SEEDS]) for two_sided in (False, True))
    # Between two points of a flow, in units of the energy; 64 rounding units are none.
    none = 64 * torch.finfo(torch.float64).eps
    return Evidence.at_least(
        "share of memories in which one of eight flows rises, gain on one side, less the share with the gain on both",
        float((one > none).mean() - (both > none).mean()),
        1.0,
        seeds=SEEDS,
        detail=f"least rise between two points {one.min():.1e} of the energy; largest change with both {both.max():.1e}",
    )


@claim(statement="Where the parallel block rests, the same branches one after the other raise the energy, in every memory tried; the parallel block does not.", source="this book", kind="simulation")
def serial_raises_the_energy() -> Evidence:
    found = [serial_rises(seed) for seed in SEEDS]
    none = 64 * torch.finfo(torch.float64).eps
    serial, parallel = (np.concatenate([one[key] for one in found]) for key in ("serial", "parallel"))
    return Evidence.at_least(
        "share of fixed points from which the serial block raises the energy, less the share for the parallel one",
        float((serial > none).mean() - (parallel > none).mean()),
        1.0,
        seeds=SEEDS,
        detail=f"{(serial > none).sum()} of {len(serial)} against {(parallel > none).sum()}; least rise {serial.min():.1e} of the energy, parallel at most {parallel.max():.0e}; "
        f"least curvature of the energy at a fixed point {min(one['curvature'] for one in found):.2g} of the largest; from random states {sum(one['random'] for one in found)} of {4 * len(found)}",
    )


@claim(statement="The serial block's rise from there is of fourth order in the step size.", source="this book", kind="simulation")
def serial_rise_is_of_fourth_order() -> Evidence:
    orders = np.array([serial_rises(seed)["order"] for seed in SEEDS])
    return Evidence.between(
        "order of the rise in the step size, mean, extrapolated from steps 0.1, 0.05 and 0.025", orders.mean(), 3.9, 4.1,
        seeds=SEEDS, spread=float(orders.std(ddof=1) / np.sqrt(len(orders))), detail=f"from {orders.min():.2f} to {orders.max():.2f}",
    )  # fmt: skip
