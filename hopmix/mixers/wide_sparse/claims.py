"""What the chapter claims, measured (page: book/mixers/wide_sparse.md)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.mixers.blocks import MixerBlock
from hopmix.mixers.blocks.mixing import WEIGHTS
from hopmix.mixers.kronecker import (
    ChannelMixing,
    Monarch,
    PermutedKronecker,
    TokenMixing,
    commutation,
    kronecker_projection,
    monarch_projection,
    rearrangement,
    unvec,
    vec,
)
from hopmix.mixers.wide_sparse.equal import to_wide
from hopmix.mixers.wide_sparse.experiment import EXPERIMENT, similarity_trial, spectrum_trial, trial
from hopmix.mixers.wide_sparse.least import least_value
from hopmix.mixers.wide_sparse.networks import KroneckerMLP
from hopmix.mixers.wide_sparse.width import counts, widest

SEEDS = tuple(range(16))
S, C = 5, 7
_CONFIG = EXPERIMENT.scales["laptop"]


def draw(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference between two tensors, relative to the largest entry of the second."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@claim(statement=r"$\operatorname{vec}(WXV^\top)=(V\otimes W)\operatorname{vec}X$ with column stacking, for rectangular $W$ and $V$.", source="hayase2024understanding", kind="identity")
def vec_identity() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        w, v, x = draw(seed, 4, S), draw(seed + 100, 6, C), draw(seed + 200, 3, S, C)
        worst = max(worst, relative(vec(x) @ torch.kron(v, w).mT, vec(w @ x @ v.mT)))
    return Evidence.at_most("largest relative difference", worst, 1e-14, seeds=SEEDS)


@claim(statement=r"$V\otimes I_S=K_{N_c,S}(I_S\otimes V)K_{S,C}$: channel mixing is block-diagonal between two commutations, bit by bit.", source="hayase2024understanding", kind="identity")
def block_form() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        channel, permuted = ChannelMixing(S, C, 4, dtype=torch.float64, seed=seed), PermutedKronecker(S, C, 4, "commutation", "commutation", dtype=torch.float64, seed=seed)
        kron = torch.kron(channel.weight.detach(), torch.eye(S, dtype=torch.float64)).numpy()
        worst = max(worst, *(abs(layer.matrix().toarray() - kron).max() for layer in (channel, permuted)))
    return Evidence.at_most("largest difference of entries", worst, 0, seeds=SEEDS)


@claim(
    statement="A Mixer block with LayerNorm, biases, GELU and skips, serial or parallel, with any kind of weights, equals its wide and sparse MLP.",
    source="hayase2024understanding; this book",
    kind="identity",
)
def mixer_is_a_wide_mlp() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        for order in ("serial", "parallel"):
            for weights in WEIGHTS:
                for norm in ("token", "joint"):
                    block = MixerBlock(S, C, 6, 9, order=order, weights=weights, norm=norm, bias=True, n_iter=2, dtype=torch.float64, seed=seed).requires_grad_(False)
                    for number, parameter in enumerate(block.parameters()):
                        parameter.add_(draw(1000 * seed + number, *parameter.shape), alpha=0.3)  # biases start at 0, gains at 1
                    x = draw(seed, 3, S, C)
                    worst = max(worst, relative(to_wide(block)(x), block(x)))
    return Evidence.at_most("largest relative difference of outputs, two turns through the block", worst, 1e-12, seeds=SEEDS)


@claim(statement=r"$f(f(WX)V^\top)$ is the permuted Kronecker network with the commutation in place of the random permutations.", source="hayase2024understanding", kind="identity")
def mixer_is_permuted_kronecker() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        network, x = KroneckerMLP(S, C, 3, dtype=torch.float64, seed=seed).requires_grad_(False), draw(seed, 4, S, C)
        (token, channel) = network.layers
        permuted = PermutedKronecker(S, C, left="commutation", right="commutation", dtype=torch.float64)
        permuted.load_state_dict({"weight": channel.weight}, strict=False)
        plain = (token.weight @ x).relu() @ channel.weight.mT
        worst = max(worst, relative(network.hidden(vec(x))[-1], vec(plain.relu())), relative(unvec(permuted(token(vec(x)).relu()), S, C), plain))
    return Evidence.at_most("largest relative difference", worst, 1e-13, seeds=SEEDS)


@claim(statement="Connections are the nonzero entries of the wide matrices, their density 1/C for tokens and 1/S for channels.", source="hayase2024understanding", kind="identity")
def connections() -> Evidence:
    worst = 0.0
    for tokens, channels, q in ((2, 9, 1), (5, 7, 2), (12, 3, 3)):
        layers = TokenMixing(tokens, channels, q * tokens), ChannelMixing(tokens, channels, q * channels)
        nonzero = [layer.matrix().nnz for layer in layers]
        expected = counts(tokens, channels, q)
        worst = max(
            worst, abs(sum(nonzero) / 2 - expected.connections), abs(sum(layer.trainable for layer in layers) - expected.trainable),
            abs(nonzero[0] / (layers[0].inputs * layers[0].outputs) - 1 / channels), abs(nonzero[1] / (layers[1].inputs * layers[1].outputs) - 1 / tokens),
        )  # fmt: skip
    return Evidence.at_most("largest difference of a count or a density", worst, 1e-15)


@claim(statement=r"The singular values of $J_1(I_C\otimes W)J_2$ are those of $W$, each $C$ times.", source="this book", kind="theorem")
def singular_values() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        layer = PermutedKronecker(C, S, 6, dtype=torch.float64, seed=seed)
        wide = np.linalg.svd(layer.matrix().toarray(), compute_uv=False)
        small = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)
        worst = max(worst, abs(wide - np.repeat(small, C)).max() / small.max())
    return Evidence.at_most("largest difference, relative to the largest", worst, 1e-13, seeds=SEEDS)


@claim(statement=r"No Mixer with $\Omega$ mean connections is wider than $(\Omega/q)^{2/3}$, only those with $S=C$ are as wide, and of two the wider has fewer parameters.", source="this book", kind="theorem")
def widest_mixer() -> Evidence:
    """All shapes up to 60 x 60, and among those with the same connections exactly, the widest against the others."""
    excess, wrong, groups = -np.inf, 0, {}
    for tokens in range(1, 61):
        for channels in range(1, 61):
            found = counts(tokens, channels)
            excess = max(excess, found.width / widest(found.connections) - 1)
            wrong += (found.width > widest(found.connections) * (1 - 1e-12)) != (tokens == channels)
            groups.setdefault(found.connections, []).append(found)
    several = [sorted(group) for group in groups.values() if len({one.width for one in group}) > 1]
    wrong += sum(one.trainable <= other.trainable for group in several for one, other in zip(group, group[1:]) if one.width < other.width)
    detail = f"{wrong} exceptions to equality at S = C only, and to wider is fewer in {len(several)} groups of shapes with equal connections"
    return Evidence.at_most("width over the bound, less 1, largest over shapes; plus the number of exceptions", excess + wrong, 1e-12, detail=detail)


@claim(statement=r"A Monarch matrix with shared blocks is $V\otimes W$, and every slice of a Monarch matrix has rank one.", source="dao2022monarch; hayase2024understanding", kind="theorem")
def shared_monarch() -> Evidence:
    worst = second = 0.0
    for seed in SEEDS:
        layer = Monarch(S, C, dtype=torch.float64, seed=seed).requires_grad_(False)
        slices = torch.linalg.svdvals(torch.from_numpy(layer.matrix().toarray()).reshape(C, S, C, S).permute(1, 2, 0, 3))
        second = max(second, float((slices[..., 1] / slices[..., 0]).max()))
        v, w = draw(seed, C, C), draw(seed + 100, S, S)
        layer.token_blocks.copy_(w.expand(C, S, S))
        layer.channel_blocks.copy_(v.expand(S, C, C))
        worst = max(worst, relative(torch.from_numpy(layer.matrix().toarray()), torch.kron(v, w)))
    return Evidence.at_most("largest relative difference, or second singular value over the first", max(worst, second), 1e-13, seeds=SEEDS)


@claim(statement="The projections find the nearest Kronecker product and the nearest Monarch matrix.", source="vanloan1993approximation; dao2022monarch", kind="theorem")
def projections() -> Evidence:
    """Against the best of several descents over the factors, for random matrices; and a Monarch matrix is recovered."""
    gap, kept, s, c = 0.0, [], 2, 3
    for seed in SEEDS[:8]:
        a = draw(seed, s * c, s * c)
        norm = float(torch.linalg.matrix_norm(a))

        def kronecker(v: Tensor, w: Tensor, a=a) -> Tensor:
            return (torch.kron(v, w) - a).square().sum()

        def monarch(left: Tensor, right: Tensor, a=a) -> Tensor:
            return (torch.einsum("iIJ,Jij->IiJj", left, right).reshape(s * c, s * c) - a).square().sum()

        for loss, shapes, project in ((kronecker, ((c, c), (s, s)), kronecker_projection), (monarch, ((s, c, c), (c, s, s)), monarch_projection)):
            best = min(least_value(loss, *shapes, seed=100 * seed + start) for start in range(4)) ** 0.5 / norm
            found = project(a, s, c)
            gap = max(gap, abs(float(loss(found.left, found.right)) ** 0.5 / norm - found.relative_error), found.relative_error - best, best - found.relative_error)
        sixteen = draw(seed + 50, 16, 16)
        kept.append((kronecker_projection(sixteen, 4, 4).relative_error, monarch_projection(sixteen, 4, 4).relative_error))
        gap = max(gap, monarch_projection(torch.from_numpy(Monarch(S, C, dtype=torch.float64, seed=seed).matrix().toarray()), S, C).relative_error)
    kron, mon = np.mean(kept, 0)
    detail = f"mean relative error for a random 16 x 16 matrix: Kronecker {kron:.3f} (32 numbers), Monarch {mon:.3f} (128)"
    return Evidence.at_most("largest difference of relative errors", gap, 1e-7, seeds=SEEDS[:8], detail=detail)


@claim(statement="The Fourier matrix of size 16 is a Monarch matrix once the two digits of the input's place are exchanged.", source="dao2022monarch", kind="identity")
def fourier_is_monarch() -> Evidence:
    n = torch.arange(16, dtype=torch.float64)
    fourier = torch.polar(torch.ones(16, 16, dtype=torch.float64), -2 * torch.pi * torch.outer(n, n) / 16)
    errors = [monarch_projection(matrix, 4, 4).relative_error for matrix in (fourier[:, commutation(4, 4)], fourier)]
    return Evidence.at_most("relative error of the projection", errors[0], 1e-14, detail=f"without the exchange {errors[1]:.3f}")


@claim(
    statement="Weight decay on the factors of a sum of Kronecker terms shrinks the singular values of the rearranged matrix: fitted with decay, one term or many reach what soft thresholding gives.",
    source="this book",
    kind="theorem",
)
def decay_is_a_nuclear_norm() -> Evidence:
    gap, s, c, rate = 0.0, 2, 3, 0.7
    for seed in SEEDS[:8]:
        target = draw(seed, s * c, s * c)
        values = torch.linalg.svdvals(rearrangement(target, s, c))
        for terms in (1, 4):

            def loss(v: Tensor, w: Tensor, target=target) -> Tensor:
                product = torch.einsum("rIJ,rij->IiJj", v, w).reshape(s * c, s * c)
                return (product - target).square().sum() / 2 + rate * (v.square().sum() + w.square().sum()) / 2

            kept = torch.where(torch.arange(len(values)) < terms, (values - rate).clamp(min=0), torch.zeros(()))
            expected = float(((values - kept).square() / 2 + rate * kept).sum())
            found = min(least_value(loss, (terms, c, c), (terms, s, s), seed=100 * seed + start) for start in range(4))
            gap = max(gap, abs(found / expected - 1))
    return Evidence.at_most("largest relative difference of the least loss", gap, 1e-7, seeds=SEEDS[:8], detail="least of four descents by BFGS against the closed form")


@claim(statement=r"For one Kronecker term the least decay penalty is $|B|_F\ge|B|_1/\sqrt n$, $n$ entries, with equality where all have one size.", source="this book", kind="theorem")
def penalty_bounds_the_one_norm() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        v, w = draw(seed, C, C), draw(seed + 100, S, S)
        sizes = [float(torch.linalg.vector_norm(part)) for part in (v, w)]
        least = scipy.optimize.minimize_scalar(lambda z, sizes=sizes: (np.exp(2 * z) * sizes[0] ** 2 + np.exp(-2 * z) * sizes[1] ** 2) / 2, tol=1e-12).fun
        for b, value in ((torch.kron(v, w), least), (torch.kron(v.sign(), w.sign()), float(C * S))):
            one = float(b.abs().sum()) / b.numel() ** 0.5
            worst = max(worst, abs(value / float(b.norm()) - 1), one / value - 1)
        worst = max(worst, abs(one / value - 1))
    return Evidence.at_most("largest relative difference to $|B|_F$, or excess of the lower bound", worst, 1e-12, seeds=SEEDS)


@claim(statement=r"A ReLU layer mixing $C$ channels of nonnegative input is dead when all entries of $V$ are negative, with probability $2^{-C^2}$: one Mixer with two channels in sixteen.", source="this book", kind="theorem")
def born_dead() -> Evidence:
    seeds, wrong, dead = range(2048), 0, []
    x = draw(0, 32, 16)
    for seed in seeds:
        network = KroneckerMLP(8, 2, 2, dtype=torch.float64, seed=seed).requires_grad_(False)
        dead.append(not bool(network.hidden(x)[-1].any()))
        wrong += dead[-1] != bool((network.layers[1].weight < 0).all())
    rate, expected = np.mean(dead), 1 / 16
    error = (expected * (1 - expected) / len(dead)) ** 0.5
    detail = f"{wrong} networks are dead without all entries negative, or the other way round; {100 * rate:.1f} per cent are dead"
    return Evidence.at_most("distance of the dead share from 1/16, in standard errors, plus exceptions", abs(rate - expected) / error + wrong, 4.0, detail=detail)


@claim(statement="At fixed connections and growing width a sparse random mask has heavy units, and these put singular values outside the bulk; equal blocks do not.", source="this book", kind="simulation")
def heavy_units() -> Evidence:
    found = spectrum_trial(_CONFIG, 512)
    ratio = np.divide(found["largest"], found["outlier"])
    detail = f"largest singular value {np.mean(found['largest']):.3f} (eight connections a unit, edge 2), equal blocks {np.mean(found['permuted']):.3f}; heaviest unit {np.mean(found['heaviest']):.2f} times the mean"
    return Evidence.between("largest singular value over $\\zeta/\\sqrt{\\zeta-1}$, mean", ratio.mean(), 0.95, 1.05, seeds=SEEDS, spread=_error(ratio), detail=detail)


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@cache
def _accuracy(*key) -> np.ndarray:
    return 100 * trial(_CONFIG, list(key))["accuracy"]


def _gain(better: tuple, worse: tuple) -> tuple[float, float]:
    """Mean gain in points of accuracy, seed by seed on the same images, and its standard error."""
    gain = _accuracy(*better) - _accuracy(*worse)
    return float(gain.mean()), _error(gain)


@claim(statement="With the same connections a two-layer sparse MLP gets better as it gets wider.", source="golubeva2021wider", kind="reproduction")
def wider_is_better() -> Evidence:
    gain, error = _gain(("sparse", 192), ("sparse", 64))
    detail = f"width 64 (dense) to 192 at 4096 connections a layer: {gain:.2f} ± {error:.2f} points; the head is not counted, and grows"
    return Evidence.at_least("gain in standard errors", gain / error, 4.0, seeds=SEEDS, detail=detail)


@claim(statement="With all weights counted, accuracy first rises with the width and then falls, as units are left with a few inputs.", source="golubeva2021wider; this book", kind="finding")
def not_without_end() -> Evidence:
    (rise, rise_error), (fall, fall_error) = _gain(("one_layer", 296, 12), ("one_layer", 296, 4)), _gain(("one_layer", 296, 12), ("one_layer", 296, 20))
    detail = f"one hidden layer, 296 weights: width 4 to 12 {rise:+.1f} ± {rise_error:.1f} points, 12 to 20 {-fall:+.1f} ± {fall_error:.1f}"
    change, change_error = _gain(("one_layer", 592, 40), ("one_layer", 592, 24))
    detail += f"; 592 weights: 24 to 40 {change:+.1f} ± {change_error:.1f}"
    return Evidence.at_least("rise and fall in standard errors, the smaller", min(rise / rise_error, fall / fall_error), 3.0, seeds=SEEDS, detail=detail)


@claim(statement="At fixed connections a permuted Mixer with as many tokens as channels, the widest, beats those with few tokens and those with few channels.", source="hayase2024understanding", kind="reproduction")
def square_is_best() -> Evidence:
    sides = {"4 x 43": _gain(("permuted", 16, 16), ("permuted", 4, 43)), "43 x 4": _gain(("permuted", 16, 16), ("permuted", 43, 4))}
    detail = "16 x 16 less " + ", ".join(f"{name}: {gain:+.2f} ± {error:.2f} points" for name, (gain, error) in sides.items())
    return Evidence.at_least("smaller of the two gains in standard errors", min(gain / error for gain, error in sides.values()), 2.0, seeds=SEEDS, detail=detail)


@claim(statement="At equal width and connections, a sparse MLP whose weights are all its own is better than the Mixer that shares them.", source="this book", kind="finding")
def sharing_costs() -> Evidence:
    gain, error = _gain(("sparse", 256), ("mixer", 16, 16))
    detail = f"width 256, 4096 connections: 4096 trainable numbers a layer against 256; {gain:.2f} ± {error:.2f} points"
    return Evidence.at_least("gain in standard errors", gain / error, 4.0, seeds=SEEDS, detail=detail)


@claim(statement="The features of a Mixer are most like those of a sparse MLP of its own density.", source="hayase2024understanding", kind="reproduction")
def alike_at_its_density() -> Evidence:
    """In the second layer, among the Mixer's density, its double and its half."""
    found = similarity_trial(replace(_CONFIG, compared_connections=(3456, 1728, 864), epochs=20), permuted=False)
    second = found["sparse"][:, :, 1]
    best = found["density"][second.mean(0).argmax()]
    values = ", ".join(f"{density:.3f}: {one.mean():.3f} ± {_error(one):.3f}" for density, one in zip(found["density"], second.T, strict=True))
    detail = f"CKA of the second layer by density {values}; with another Mixer {found['mixer'][:, 1].mean():.3f}"
    return Evidence.between("best density over the Mixer's", best / found["mixer_density"], 0.99, 1.01, seeds=SEEDS, detail=detail)
