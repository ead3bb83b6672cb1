"""What the chapter claims, measured (page: book/mixers/blocks.md)."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.mixers.blocks.block import MixerBlock
from hopmix.mixers.blocks.experiment import KINDS, Config, block_of, embedded_digits, many_blocks, small_steps, swap_order
from hopmix.mixers.blocks.mixing import ACTIVATIONS, WEIGHTS, Mixing
from hopmix.mixers.blocks.presets import PRESETS, preset
from hopmix.mixers.blocks.splitting import parallel_step, serial_step, splitting_term

SEEDS = tuple(range(16))
_CONFIG = Config(seeds=len(SEEDS), images=4, deep_images=2, depths=(1, 2, 4, 8, 16, 32), flow_steps=12, epochs=5)


@cache
def _digits(seed: int) -> Tensor:
    return embedded_digits(_CONFIG, seed, _CONFIG.images)


def _block(seed: int, weights: str = "free", **options) -> MixerBlock:
    return block_of(_CONFIG, seed, _digits(seed).shape[1], weights, **options)


@cache
def _small_steps(seed: int, weights: str) -> dict:
    return small_steps(_CONFIG, _block(seed, weights), _digits(seed))


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference between two tensors, relative to the largest entry of the second."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def _of_all_kinds(key: str) -> np.ndarray:
    return np.array([[_small_steps(seed, weights)[key] for weights in KINDS.values()] for seed in SEEDS])


@claim(
    statement="Serial and parallel block differ by a term of second order in the step size, on digits, for free, symmetric, asymmetric and signed weights.",
    source="this book",
    kind="theorem",
)
def splitting_order() -> Evidence:
    orders = _of_all_kinds("order")
    worst = orders.ravel()[np.abs(orders - 2).argmax()]
    return Evidence.between("order of the difference, extrapolated from steps down to $2^{-10}$; the one farthest from 2", worst, 1.999, 2.001, seeds=SEEDS)


@claim(
    statement=r"The coefficient of that term is $DG\,F$, as automatic differentiation gives it.",
    source="this book",
    kind="theorem",
)
def splitting_coefficient() -> Evidence:
    ratios = _of_all_kinds("coefficient")
    worst = ratios.ravel()[np.abs(ratios - 1).argmax()]
    return Evidence.between("difference over $h^2DG\\,F$, extrapolated to $h=0$; the one farthest from 1", worst, 0.9999, 1.0001, seeds=SEEDS)


@claim(
    statement=r"The two serial orders differ by $h^2(DG\,F-DF\,G)$ to leading order.",
    source="this book",
    kind="theorem",
)
def commutator() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        x, block = _digits(seed), _block(seed)
        expected = splitting_term(block, x) - splitting_term(block, x, "channel")
        coarse, fine = ((serial_step(block, x, h) - serial_step(block, x, h, "channel")) / h**2 for h in (2.0**-9, 2.0**-10))
        worst = max(worst, float((2 * fine - coarse - expected).norm() / expected.norm()))
    return Evidence.at_most("relative distance of difference over $h^2$, extrapolated, from the commutator", worst, 1e-4, seeds=SEEDS)


@claim(
    statement="Linear branches without norm: serial less parallel step is exactly one mixed term, and it does not matter which branch comes first. With GELU it does.",
    source="this book",
    kind="identity",
)
def linear_branches_commute() -> Evidence:
    worst, gelu = 0.0, []
    for seed in SEEDS:
        x = torch.randn(4, 6, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for activation in ("identity", "gelu"):
            token, channel = (Mixing(length, 12, activation, dtype=torch.float64, seed=seed).requires_grad_(False) for length in (6, 10))
            after_tokens, after_channels = x + token(x.mT).mT, x + channel(x)
            one, other = after_tokens + channel(after_tokens), after_channels + token(after_channels.mT).mT
            if activation == "gelu":
                gelu.append(float((one - other).norm() / one.norm()))
                continue
            a, b = token.outward.mT @ token.inward, channel.outward.mT @ channel.inward
            expected = x + a @ x + x @ b.mT + a @ x @ b.mT
            worst = max(worst, relative(one, expected), relative(other, expected))
    detail = f"relative difference of the two orders with GELU: {min(gelu):.2f} to {max(gelu):.2f}"
    return Evidence.at_most("largest relative difference of either order to $x+Ax+xB^T+AxB^T$", worst, 1e-12, seeds=SEEDS, detail=detail)


@claim(
    statement=r"The mean of the two serial orders misses the flow of $F+G$ by $\frac{h^2}2(DF\,F+DG\,G)$, Euler's errors within each branch, to leading order.",
    source="this book",
    kind="theorem",
)
def mean_of_orders() -> Evidence:
    worst, seeds = 0.0, SEEDS
    for seed in seeds:
        x, block = _digits(seed)[:2], _block(seed)
        pairs = (block.token_branch, block.channel_branch)
        expected = sum(torch.autograd.functional.jvp(branch, x, branch(x))[1] for branch in pairs) / 2
        found = []
        for h in (2.0**-7, 2.0**-8):
            mean = (serial_step(block, x, h) + serial_step(block, x, h, "channel")) / 2
            found.append((_flow(block, x, h) - mean) / h**2)
        worst = max(worst, float((2 * found[1] - found[0] - expected).norm() / expected.norm()))
    # What extrapolation from 2^-8 leaves is of second order in it, times a number of order one to ten.
    return Evidence.at_most("relative distance of error over $h^2$, extrapolated, from that term", worst, 1e-3, seeds=seeds)


def _flow(block: MixerBlock, x: Tensor, time: float, steps: int = 4) -> Tensor:
    """x' = F + G by Runge and Kutta's method of fourth order."""
    h = time / steps
    for _ in range(steps):
        k1 = parallel_step(block, x) - x
        k2 = parallel_step(block, x + h / 2 * k1) - (x + h / 2 * k1)
        k3 = parallel_step(block, x + h / 2 * k2) - (x + h / 2 * k2)
        k4 = parallel_step(block, x + h * k3) - (x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


@claim(
    statement=r"At $\epsilon=0$ a step $h$ from $x$ is $h$ times a full step from $x/h$: the step size of a block is what it adds, relative to its input.",
    source="this book",
    kind="identity",
)
def step_is_length() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        x, block = _digits(seed), _block(seed, eps=0.0)
        for h in (0.1, 3.0):
            for step in (parallel_step, serial_step):
                worst = max(worst, relative(h * step(block, x / h), step(block, x, h)))
    return Evidence.at_most("largest relative difference, both orders, $h=0.1$ and $h=3$", worst, 1e-12, seeds=SEEDS)


@claim(
    statement=r"Networks of $L$ blocks with step $1/L$ forget the order as $1/L$, with the first variation of their common flow as the coefficient.",
    source="this book",
    kind="simulation",
)
def deep_limit() -> Evidence:
    found = [many_blocks(_CONFIG, _block(seed), _digits(seed)[: _CONFIG.deep_images]) for seed in SEEDS]
    ratios = np.array([one["deep_coefficient"] for one in found])
    orders = np.array([one["deep_order"] for one in found])
    return Evidence.between(
        "difference times $L$ over the variation, extrapolated from $L=16$ and $32$",
        ratios.mean(), 0.995, 1.005, seeds=SEEDS, spread=ratios.std(ddof=1) / np.sqrt(len(ratios)),
        detail=f"order in $1/L$ from {orders.min():.4f} to {orders.max():.4f}",
    )  # fmt: skip


@claim(
    statement="Untrained, on digits of mean square one, a serial block is far from the parallel block with the same weights.",
    source="this book",
    kind="finding",
)
def far_apart_at_one() -> Evidence:
    differences = _of_all_kinds("difference_at_one")
    errors = differences.std(0, ddof=1) / np.sqrt(len(SEEDS))
    detail = ", ".join(f"{kind} {mean:.3f} ± {error:.3f}" for kind, mean, error in zip(KINDS, differences.mean(0), errors, strict=True))
    return Evidence.at_least("difference relative to what the parallel block adds, smallest over seeds and kinds", differences.min(), 0.1, seeds=SEEDS, detail=detail)


@claim(
    statement="A ParaMixer trained on digits loses accuracy when its blocks are run serially with the same weights.",
    source="this book",
    kind="finding",
)
def trained_in_its_order() -> Evidence:
    found = [swap_order(_CONFIG, seed, "paramixer") for seed in SEEDS]
    accuracy, swapped = (100 * np.array([one[key] for one in found]) for key in ("accuracy", "swapped_accuracy"))
    lost = accuracy - swapped
    error = lost.std(ddof=1) / np.sqrt(len(lost))
    detail = f"test accuracy {accuracy.mean():.1f}, run serially {swapped.mean():.1f} per cent; lost {lost.mean():.1f} ± {error:.1f} points"
    return Evidence.at_least("mean loss in standard errors", lost.mean() / error, 4.0, seeds=SEEDS, detail=detail)


def _activations(seed: int) -> Tensor:
    x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.layer_norm(x, (6, 8))


def _small_block(seed: int, weights: str, activation: str = "gelu") -> MixerBlock:
    return MixerBlock(6, 8, 5, 12, activation=activation, weights=weights, dtype=torch.float64, seed=seed).requires_grad_(False)


def _jacobian(block: MixerBlock, g: Tensor) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(lambda g: block.token_mixing(g) + block.channel_mixing(g), g)
    return jacobian.reshape(g.numel(), g.numel())


@claim(
    statement="Tied weights, with signs or without, have a symmetric Jacobian in the activations; for all weights its antisymmetric part is the stated one.",
    source="this book",
    kind="identity",
)
def jacobians() -> Evidence:
    worst, sizes = 0.0, {weights: [] for weights in WEIGHTS}
    for seed in SEEDS:
        g = _activations(seed)
        for weights in WEIGHTS:
            block = _small_block(seed, weights)
            jacobian = _jacobian(block, g)
            antisymmetric = jacobian - jacobian.mT
            worst = max(worst, float((antisymmetric - _antisymmetric(block, g[0])).norm() / jacobian.norm()))
            sizes[weights].append(float(antisymmetric.norm() / jacobian.norm()))
    detail = "mean $|J-J^T|/|J|$: " + ", ".join(f"{weights} {np.mean(values):.2g}" for weights, values in sizes.items())
    return Evidence.at_most("largest distance of $J-J^T$ by autograd from the formula, relative to $|J|$", worst, 1e-12, seeds=SEEDS, detail=detail)


def _antisymmetric(block: MixerBlock, g: Tensor) -> Tensor:
    """The formula of the chapter, by einsum; it is zero where nothing departs from tied weights."""
    found = 0.0
    for axis, mixing, letters in ((0, block.token, ("hi,hj,hI,IJ->iIjJ", g.shape[1])), (1, block.channel, ("hI,hJ,hi,ij->iIjJ", g.shape[0]))):
        x = (g.mT if axis == 0 else g) @ mixing.inward.mT  # (the other axis, hidden)
        x = x.requires_grad_(True)
        (slope,) = torch.autograd.grad(ACTIVATIONS[mixing.activation](x).sum(), x)
        departure = mixing.departure()
        one = torch.einsum(letters[0], departure, mixing.inward, slope.mT, torch.eye(letters[1], dtype=torch.float64))
        other = torch.einsum(letters[0], mixing.inward, departure, slope.mT, torch.eye(letters[1], dtype=torch.float64))
        found = found + one - other
    return found.reshape(g.numel(), g.numel())


@claim(
    statement=r"With ReLU the Jacobian of tied branches pushes on in every direction, that of negative ones back in every direction, that of signed ones in both ways.",
    source="this book",
    kind="theorem",
)
def signs_of_curvature() -> Evidence:
    wrong, mixed = -np.inf, []
    for seed in SEEDS:
        g = _activations(seed)
        values = {weights: torch.linalg.eigvalsh(_jacobian(_small_block(seed, weights, "relu"), g)) for weights in ("symmetric", "negative", "signed")}
        size = float(values["symmetric"].abs().max())
        wrong = max(wrong, float(-values["symmetric"].min()) / size, float(values["negative"].max()) / size)
        mixed.append(float(torch.minimum(values["signed"].max(), -values["signed"].min())))
    detail = f"signed: both signs in {sum(value > 1e-6 for value in mixed)} of {len(mixed)}"
    return Evidence.at_most("eigenvalue farthest on the wrong side of 0, relative to the largest, symmetric and negative", wrong, 1e-13, seeds=SEEDS, detail=detail)


@claim(
    statement="The presets have as many parameters as the formulas say.",
    source="karakida2024hierarchical; this book",
    kind="identity",
)
def parameter_counts() -> Evidence:
    worst = 0
    for name, options in PRESETS.items():
        dim, depth, patch = options["dim"], options["depth"], options["patch_size"]
        tokens = (224 // patch) ** 2
        single = (dim // 2) * tokens + 4 * dim * dim
        block = single * (2 if options["weights"] in ("free", "asymmetric") else 1)
        block += 2 * tokens * dim * (2 if options["order"] == "serial" else 1)
        expected = depth * block + (3 * patch**2 + 1) * dim + 2 * dim + (dim + 1) * 1000
        model = preset(name, device="meta")
        worst = max(worst, abs(sum(parameter.numel() for parameter in model.parameters()) - expected))
    s16 = {kind: sum(p.numel() for p in preset(f"{kind}_s16", num_classes=10, device="meta").parameters()) for kind in ("vanilla", "paramixer", "symmixer")}
    detail = "S/16 with ten classes: " + ", ".join(f"{kind} {count:,}" for kind, count in s16.items())
    return Evidence.at_most(f"largest difference over {len(PRESETS)} presets", worst, 0, detail=detail)
