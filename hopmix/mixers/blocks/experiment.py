"""Parallel and serial blocks on digits: small steps, many blocks, and trained models (page: book/mixers/blocks.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.experiment import Experiment
from hopmix.mixers.blocks.block import MixerBlock
from hopmix.mixers.blocks.model import Mixer
from hopmix.mixers.blocks.splitting import parallel_step, serial_step, splitting_term
from hopmix.training.digits import digit_patches, patch_embed
from hopmix.training.loop import train

KINDS = {"paramixer": "free", "symmixer": "symmetric", "asymmixer": "asymmetric", "signedmixer": "signed"}
TRAINED = {"paramixer": "parallel", "vanilla": "serial"}


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one draw of weights, embedding and images.

    halvings : the step sizes are 1, 1/2, … down to 2^-halvings, on `images` digits of root mean square one.
    depths : numbers of blocks (with shared weights) that reach time 1, on `deep_images` digits; the limit by Runge-Kutta
        with `flow_steps` steps.
    epochs, … : the trained models, on `training_images` digits; the others are the test.
    """

    seeds: int
    images: int
    patch_size: int = 2
    channels: int = 32
    mlp_ratio: tuple[float, float] = (0.5, 4.0)
    halvings: int = 10
    depths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    deep_images: int = 4
    flow_steps: int = 20
    depth: int = 2
    epochs: int = 8
    batch_size: int = 100
    learning_rate: float = 1e-2
    training_images: int = 1000
    device: str = "cpu"

    @property
    def steps(self) -> np.ndarray:
        return 0.5 ** np.arange(self.halvings + 1)


def embedded_digits(config: Config, seed: int, images: int) -> Tensor:
    """Random digits as (images, tokens, channels), float64, with mean square one; the embedding belongs to the seed too."""
    patches, _ = digit_patches(config.patch_size)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(patches), generator=generator)[:images]
    x = patch_embed(patches[chosen], config.channels, generator)
    return (x / x.square().mean().sqrt()).to(config.device)


def block_of(config: Config, seed: int, tokens: int, weights: str = "free", **options) -> MixerBlock:
    """An untrained block at the study's widths, in float64."""
    hidden = [int(ratio * config.channels) for ratio in config.mlp_ratio]
    options = {"dtype": torch.float64, "device": config.device} | options
    return MixerBlock(tokens, config.channels, *hidden, weights=weights, seed=seed, **options).requires_grad_(False)


def trial(config: Config, seed: int) -> dict:
    """One seed. Differences are relative to what the parallel block adds to its input, |F + G|, over all images."""
    x = embedded_digits(config, seed, config.images)
    found = {}
    for kind, weights in KINDS.items():
        for key, value in small_steps(config, block_of(config, seed, x.shape[1], weights), x).items():
            found[f"{kind}_{key}"] = value
    found |= many_blocks(config, block_of(config, seed, x.shape[1]), x[: config.deep_images])
    for kind in TRAINED:
        for key, value in swap_order(config, seed, kind).items():
            found[f"{kind}_{key}"] = value
    return found


def small_steps(config: Config, block: MixerBlock, x: Tensor) -> dict:
    """Serial against parallel steps of all sizes, and the leading term that theory gives."""
    added = (parallel_step(block, x) - x).norm()
    leading = splitting_term(block, x)
    differences = [serial_step(block, x, step) - parallel_step(block, x, step) for step in config.steps]
    sizes = np.array([float(difference.norm() / added) for difference in differences])
    ratios = [float((difference * leading).sum() / leading.square().sum()) / step**2 for difference, step in zip(differences, config.steps, strict=True)]
    return {
        "difference": sizes,
        "leading": config.steps**2 * float(leading.norm() / added),
        "order": _limit(np.log2(sizes[:-1] / sizes[1:])),
        "coefficient": _limit(ratios),
        "difference_at_one": sizes[0],
    }


def many_blocks(config: Config, block: MixerBlock, x: Tensor) -> dict:
    """A network of L blocks with step 1/L, serial against parallel, and the first variation of the flow they share.

    Relative to how far the flow goes. The variation d obeys d' = D(F + G) d + DG F from d = 0; theory is |d| / L.
    """
    end, variation = flow_and_variation(block, x, config.flow_steps)
    distance, sizes, ratios = (end - x).norm(), [], []
    for depth in config.depths:
        parallel = serial = x
        for _ in range(depth):
            parallel, serial = parallel_step(block, parallel, 1 / depth), serial_step(block, serial, 1 / depth)
        sizes.append(float((serial - parallel).norm() / distance))
        ratios.append(float(((serial - parallel) * variation).sum() / variation.square().sum()) * depth)
    return {
        "deep_difference": np.array(sizes),
        "deep_leading": float(variation.norm() / distance) / np.array(config.depths),
        "deep_order": _limit(np.log2(np.array(sizes)[:-1] / sizes[1:])),
        "deep_coefficient": _limit(ratios),
    }


def flow_and_variation(block: MixerBlock, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """x' = F + G and d' = D(F + G) d + DG F up to time 1, by Runge and Kutta's method of fourth order."""

    def field(x: Tensor) -> Tensor:
        return block.token_branch(x) + block.channel_branch(x)

    def velocity(x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        moved, carried = torch.autograd.functional.jvp(field, x, d)
        return moved, carried + splitting_term(block, x)

    state, h = (x, torch.zeros_like(x)), 1 / steps
    for _ in range(steps):
        slopes = []
        for reach in (0, h / 2, h / 2, h):
            at = [s + reach * k for s, k in zip(state, slopes[-1], strict=True)] if slopes else state
            slopes.append(velocity(*at))
        state = tuple(s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4) for s, k1, k2, k3, k4 in zip(state, *slopes, strict=True))
    return state


def swap_order(config: Config, seed: int, kind: str) -> dict:
    """A model trained on digits, tested as it was trained and with its blocks in the other order, weights untouched.

    Also, over the test images: how much each block adds relative to its input, and by how much the two orders of a block
    differ relative to what it adds.
    """
    images, labels = (tensor.to(config.device) for tensor in digit_images())
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(config.device).split([config.training_images, len(images) - config.training_images])
    model = Mixer(
        8, config.patch_size, 1, 10, config.depth, config.channels, config.mlp_ratio,
        order=TRAINED[kind], device=config.device, dtype=torch.float32, seed=seed,
    )  # fmt: skip
    train(
        model.parameters(),
        lambda images, labels, _: F.cross_entropy(model(images), labels),
        (images[chosen[0]], labels[chosen[0]]),
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
    )
    with torch.no_grad():
        (own, added, differ), (other, _, _) = (run_in_order(model, images[chosen[1]], serial=serial) for serial in _own_first(kind))
    return {
        "accuracy": float((own.argmax(1) == labels[chosen[1]]).double().mean()),
        "swapped_accuracy": float((other.argmax(1) == labels[chosen[1]]).double().mean()),
        "added": added,
        "blocks_differ": differ,
    }


def _own_first(kind: str) -> tuple[bool, bool]:
    serial = TRAINED[kind] == "serial"
    return serial, not serial


def digit_images() -> tuple[Tensor, Tensor]:
    """All digits as (1797, 1, 8, 8) in float32, and their labels."""
    patches, labels = digit_patches(8)
    return patches.reshape(-1, 1, 8, 8).float(), labels


def run_in_order(model: Mixer, images: Tensor, serial: bool) -> tuple[Tensor, list[float], list[float]]:
    """A model's class scores with its blocks in the order asked for; what each block adds to its input, relative; how much
    the two orders of each block differ, relative to what it adds."""
    x, added, differ = model.embed(images), [], []
    for block in model.blocks:
        steps = parallel_step(block, x), serial_step(block, x)
        after = steps[serial]
        added.append(float((after - x).norm() / x.norm()))
        differ.append(float((steps[1] - steps[0]).norm() / (after - x).norm()))
        x = after
    return F.linear(model.norm(x).mean(1), model.head_weight, model.head_bias), added, differ


def _limit(values) -> float:
    """The limit of values whose error halves from each to the next, from the last two."""
    return float(2 * values[-1] - values[-2])


def summarise(config: Config, trials: list[dict]) -> dict:
    """Means over seeds, with standard errors under the same name and ``_error``."""
    keys = [f"{kind}_{key}" for kind in KINDS for key in ("order", "coefficient", "difference_at_one")]
    keys += ["deep_order", "deep_coefficient"] + [f"{kind}_{key}" for kind in TRAINED for key in ("accuracy", "swapped_accuracy")]
    found = {}
    for key in keys:
        values = np.array([one[key] for one in trials])
        found[key] = float(values.mean())
        found[f"{key}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return found


EXPERIMENT = Experiment(
    "mixers.blocks",
    version=1,
    scales={
        "smoke": Config(seeds=2, images=2, channels=8, deep_images=1, depths=(1, 2, 4, 8), flow_steps=6, epochs=1, training_images=200),
        "laptop": Config(seeds=16, images=8),
        "gpu": Config(seeds=64, images=256, patch_size=1, channels=128, deep_images=64, depth=8, epochs=60, learning_rate=2e-3, device="cuda"),
    },
    trials=lambda config: list(range(config.seeds)),
    trial=trial,
    summarise=summarise,
)
