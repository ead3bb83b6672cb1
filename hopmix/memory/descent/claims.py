"""What the chapter claims, measured (page: book/memory/descent.md)."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.memory.descent.bound import GELU_CONCAVITY, descent_bound, largest_safe_step
from hopmix.memory.descent.ensemble import draw_networks, step_changes
from hopmix.memory.descent.experiment import ROUNDING, Config, energies
from hopmix.memory.descent.sharpness import sharp_memory
from hopmix.memory.descent.tied_mixer import TiedMixer, accuracy, fit
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.hopfield_mixer import three_layer_memory
from hopmix.memory.lagrangian import LayerNorm, lagrangian
from hopmix.training.digits import digit_patches

SEEDS = tuple(range(16))
_SIZES = {"tokens": 4, "channels": 6, "token_hidden": 8, "channel_hidden": 12}
_SKIP, _LEAKY = Config(0, 0).skip_steps, Config(0, 0).leaky_steps


def _steps():
    """(leak, step size) of both forms over all step sizes."""
    return [(False, h) for h in _SKIP] + [(True, h) for h in _LEAKY]


@claim(
    statement=r"One step changes the energy by exactly the work and the distance of the hidden Lagrangians from their tangents, with leak or skip connection, joint or per token, at any $\epsilon$, gain and shift.",
    source="this book",
    kind="identity",
)
def descent_identity() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        shift = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for norm in ("joint", "token"):
            for eps in (0.0, 1e-6, 0.5):
                memory = three_layer_memory(**_SIZES, norm=norm, gain=1.4, eps=eps, seed=seed).requires_grad_(False)
                memory.layers[0].lagrangian.shift = shift
                x = memory.random_state(batch=20, seed=seed)
                for leak, h in _steps():
                    worst = max(worst, _identity_error(memory, x, h, leak))
    return Evidence.at_most("largest difference relative to the energies", worst, 1e-12, seeds=SEEDS)


def _identity_error(memory: HierarchicalMemory, x: Tensor, step_size: float, leak: bool) -> float:
    """The terms against the memory's own energy, which knows nothing of them."""
    one, visible = descent_bound(memory, x, step_size, leak), memory.layers[0].lagrangian
    following = memory.step(x, step_size, leak)
    first, second = memory.energy(x), memory.energy(following)
    change = second - first if leak else (second - visible.legendre(following)) - (first - visible.legendre(x))
    return float(((change + one.work + one.bregman).abs() / (first.abs() + second.abs())).max())


@claim(
    statement=r"With convex Lagrangians of any kind the energy falls: the interaction for every step with skip connection, the whole energy for every leaky step up to $h=1$.",
    source="this book",
    kind="theorem",
)
def any_convex_lagrangians() -> Evidence:
    worst, number = -np.inf, 0
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        for kind in ("layer_norm", "softmax", "tanh", "quadratic"):
            visible = Layer("x", (7,), lagrangian(kind))
            hidden = [Layer("relu", (9,), lagrangian("relu"), 0.0), Layer("softmax", (5,), lagrangian("softmax"), 0.0)]
            weights = [Dense(torch.randn(units, 7, generator=generator, dtype=torch.float64)) for units in (9, 5)]
            memory = HierarchicalMemory([visible, *hidden], [Synapse("x", layer.name, w) for layer, w in zip(hidden, weights, strict=True)])
            x = memory.random_state(batch=40, scale=2.0, seed=generator)
            for leak, h in _steps():
                following = memory.step(x, h, leak)
                own = (0, 0) if leak else (visible.lagrangian.legendre(x), visible.lagrangian.legendre(following))
                first, second = memory.energy(x) - own[0], memory.energy(following) - own[1]
                worst = max(worst, float(((second - first) / (first.abs() + second.abs() + _own_size(memory, following))).max()))
                number += len(x)
    return Evidence.at_most(
        "largest change of the energy over its size, visible LayerNorm, softmax, tanh and quadratic, hidden ReLU and softmax",
        worst, ROUNDING, seeds=SEEDS, detail=f"{number} steps, of size {_SKIP[0]:g} to {_SKIP[-1]:g} with skip, to {_LEAKY[-1]:g} with leak",
    )  # fmt: skip


def _own_size(memory: HierarchicalMemory, x: Tensor) -> Tensor:
    """|x . g| of the visible layer, which the energy holds and which may be far larger than the energy: (batch,)."""
    return (x * memory.activations(x)["x"]).abs().sum(1)


@claim(
    statement=r"The squared spectral norm of a Mixer's stacked synapses is $|W|^2+|V|^2$, exactly.",
    source="this book",
    kind="identity",
)
def stacked_norm() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        drawn = draw_networks(8, *_SIZES.values(), seed=seed)
        for w, v in zip(drawn.token, drawn.channel, strict=True):
            stacked = torch.cat([torch.kron(w.contiguous(), torch.eye(6).double()), torch.kron(torch.eye(4).double(), v.contiguous())])
            expected = torch.linalg.matrix_norm(w, 2) ** 2 + torch.linalg.matrix_norm(v, 2) ** 2
            worst = max(worst, abs(float(torch.linalg.matrix_norm(stacked, 2) ** 2 / expected) - 1))
    return Evidence.at_most("largest relative difference, the stacked matrix written out", worst, 1e-12, seeds=SEEDS)


@claim(
    statement=r"GELU's Lagrangian lies below its tangents by at most $\frac m2(t-s)^2$, with $m=\frac12(\mathrm{erf}(1)-1)+\frac1{e\sqrt\pi}$, and no smaller $m$ does.",
    source="this book",
    kind="theorem",
)
def gelu_concavity() -> Evidence:
    def slope(u: float) -> float:
        x = torch.tensor(u, dtype=torch.float64, requires_grad=True)
        return float(torch.autograd.grad(torch.nn.functional.gelu(x), x)[0])

    lowest = minimize_scalar(slope, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9}).fun
    grid = torch.linspace(-8, 8, 1200, dtype=torch.float64)
    phi, f = lagrangian("gelu").potential(grid), torch.nn.functional.gelu(grid)
    below = phi[:, None] + f[:, None] * (grid - grid[:, None]) - phi  # at t (columns), of the tangent at s (rows)
    square = (grid - grid[:, None]).square() / 2
    ratio = float((below / square)[square > 1e-4].max())
    return Evidence.at_most(
        "excess over m of GELU's greatest concavity: of the slope found by minimising, or of all pairs s, t of a grid",
        max(abs(-lowest - GELU_CONCAVITY), ratio - GELU_CONCAVITY),
        1e-10,
        detail=f"m = {GELU_CONCAVITY:.6f}; greatest on the grid {ratio:.6f}",
    )


@cache
def _random_networks() -> dict:
    """Counts over random networks of two sizes, all step sizes, both forms and norms."""
    found = {"gelu": [0, 0, 0, 0], "relu": [0, 0, 0, 0]}  # steps, exceeded bounds, rises although safe, rises
    for seed in SEEDS:
        for sizes, networks in ((tuple(_SIZES.values()), 200), ((3, 3, 1, 1), 1000)):
            drawn = draw_networks(networks, *sizes, scale=1 + seed % 3, seed=seed)
            for norm in ("joint", "token"):
                for activation, counts in found.items():
                    for leak, h in _steps():
                        one = step_changes(drawn, h, leak, activation, norm)
                        rose = one["change"] > ROUNDING * one["scale"]
                        above = one["change"] > one["bound"] + ROUNDING * one["scale"]
                        for place, mask in enumerate((torch.ones_like(rose), above, rose & (one["safety"] >= 1), rose)):
                            counts[place] += int(mask.sum())
    return found


@claim(
    statement="The change of the energy never exceeds the bound, with GELU or ReLU, joint or per token, leak or skip connection, at any step size.",
    source="this book",
    kind="theorem",
)
def bound_never_exceeded() -> Evidence:
    found = _random_networks()
    steps = sum(counts[0] for counts in found.values())
    return Evidence.at_most("steps of random networks above the bound", sum(counts[1] for counts in found.values()), 0, seeds=SEEDS, detail=f"of {steps} steps")


@claim(statement="With ReLU the energy never rises, at any step size.", source="this book", kind="theorem")
def relu_never_rises() -> Evidence:
    steps, _, _, rises = _random_networks()["relu"]
    return Evidence.at_most("steps of random networks that raise the energy", rises, 0, seeds=SEEDS, detail=f"of {steps} steps")


@claim(
    statement=r"With GELU the energy does not rise where $(\rho^++a\rho)/h\ge\gamma m|\Xi|^2$ in every normalised group.",
    source="this book",
    kind="theorem",
)
def gelu_safe_steps() -> Evidence:
    steps, _, rises, unsafe = _random_networks()["gelu"]
    return Evidence.at_most("steps within the condition that raise the energy", rises, 0, seeds=SEEDS, detail=f"of {steps} steps; {unsafe} rises outside the condition")


@claim(
    statement="Outside the condition GELU's energy can rise, though in random networks rarely: with three neurons and two hidden units, at the leaky step of size one.",
    source="this book",
    kind="simulation",
)
def gelu_rises() -> Evidence:
    def share(seed: int, leak: bool) -> float:
        one = step_changes(draw_networks(20_000, 3, 1, 2, 1, branches="token", seed=seed), 1.0, leak, "gelu", "joint")
        return float((one["change"] > ROUNDING * one["scale"]).double().mean())

    leaky, skip = ([share(seed, leak) for seed in SEEDS] for leak in (True, False))
    return Evidence.at_least(
        "least share of rises among 20000 networks, over the seeds",
        min(leaky),
        1 / 20_000,
        seeds=SEEDS,
        spread=float(np.std(leaky, ddof=1) / 4),
        detail=f"mean {np.mean(leaky):.4f} with leak, {np.mean(skip):.1e} with skip connection",
    )


@claim(
    statement=r"No smaller constant than $m$ will do in the condition: there are memories whose energy rises as soon as the step is larger than the largest safe one, but for a part as small as one likes.",
    source="this book",
    kind="theorem",
)
def condition_is_sharp() -> Evidence:
    gaps = {}
    for balance in (0.03, 0.01, 0.003):
        memory, x = sharp_memory(balance)
        safe = float(largest_safe_step(memory, x))
        gaps[balance] = brentq(lambda h, pair=(memory, x): float(descent_bound(*pair, h).change), safe / 2, 2 * safe, rtol=1e-12) / safe - 1
    # The second unit's own curvature is at most 1.13 balance^2 |q|^2 against m |q|^2, so the gap is of the order of 9 balance^2.
    return Evidence.between(
        "step at which the energy begins to rise over the largest safe step, less one, in units of balance squared (the one farthest from 0)",
        max((gap / balance**2 for balance, gap in gaps.items()), key=abs),
        0,
        20,
        detail=", ".join(f"{gap:.1e} at balance {balance:g}" for balance, gap in gaps.items()),
    )


@claim(statement="The closed form of the largest safe step is where the condition first fails.", source="this book", kind="identity")
def safe_step_closed_form() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for norm in ("joint", "token"):
            for leak in (False, True):
                memory = three_layer_memory(2, 3, 1, 1, norm=norm, gain=3.0, eps=0.01, seed=seed).requires_grad_(False)
                x = memory.random_state(batch=1, seed=seed)
                found = float(largest_safe_step(memory, x, leak))

                def margin(log_step: float, memory=memory, x=x, leak=leak) -> float:
                    return float(torch.log(descent_bound(memory, x, float(np.exp(log_step)), leak).safety.clamp(min=1e-300)))

                if np.isfinite(found):
                    worst = max(worst, abs(np.exp(brentq(margin, -6, np.log(found) + 0.5, xtol=1e-13)) / found - 1))
                else:
                    worst = max(worst, float(margin(12.0) < 0))
    return Evidence.at_most("largest relative difference to the root found by bisection", worst, 1e-9, seeds=SEEDS)


@cache
def _trained(seed: int) -> dict:
    """A small Mixer with one shared block, trained on digits for a few epochs, and what its blocks do to the energy of test images."""
    patches, labels = digit_patches(2)
    order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))
    x, y = patches[order].to(torch.float32), labels[order]
    model = TiedMixer(16, 4, 24, 24, 48, depth=4, dtype=torch.float32, seed=seed)
    fit(model, x[:800], y[:800], epochs=8, batch_size=50, learning_rate=2e-2, seed=seed)
    return {"accuracy": accuracy(model, x[800:], y[800:]), **energies(model, x[800:1000].double())}


@claim(
    statement="In Mixers trained on digits whose blocks share tied weights, the energy falls from block to block in every test image.",
    source="this book",
    kind="simulation",
)
def trained_mixer_descends() -> Evidence:
    trained = [_trained(seed) for seed in SEEDS]
    accuracies = np.array([one["accuracy"] for one in trained])
    return Evidence.at_most(
        "largest change of the energy per neuron in one block, over blocks, 200 test images and seeds",
        max(float(one["largest_rise"]) for one in trained),
        0.0,
        seeds=SEEDS,
        detail=f"test accuracy {accuracies.mean():.3f} +- {accuracies.std(ddof=1) / 4:.3f} after eight epochs",
    )


@claim(
    statement="In these Mixers the condition may fail in the first block, but holds in every later one, where the residual stream has grown.",
    source="this book",
    kind="finding",
)
def deep_blocks_are_safe() -> Evidence:
    least = np.array([one["least_safety"].tolist() for one in map(_trained, SEEDS)])
    return Evidence.at_least(
        "least safety of blocks two to four, over 200 test images and seeds",
        least[:, 1:].min(),
        1.0,
        seeds=SEEDS,
        detail=f"first block: below one for {(least[:, 0] < 1).sum()} of {len(SEEDS)} Mixers, least {least[:, 0].min():.2f}; fourth block: {least[:, -1].min():.1f}",
    )


@claim(
    statement="Blocks that do not share their weights have no energy in common: each lowers its own, while the first block's energy rises somewhere along the network.",
    source="this book",
    kind="simulation",
)
def unshared_blocks() -> Evidence:
    patches, _ = digit_patches(2)
    found = []
    for seed in SEEDS:
        chosen = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))[:50]
        found.append(energies(TiedMixer(16, 4, 16, 16, 32, depth=5, activation="relu", sharing="none", dtype=torch.float64, seed=seed), patches[chosen]))
    return Evidence.at_least(
        "least over the seeds of the largest rise of the first block's energy, per neuron, random weights and ReLU",
        min(float(one["largest_rise"]) for one in found),
        1e-6,
        seeds=SEEDS,
        detail=f"largest change of a block's own energy {max(float(one['own']) for one in found):.2g}",
    )
