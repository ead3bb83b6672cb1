"""Width against sparsity on digits: Mixers, permuted Mixers and sparse MLPs (page: book/mixers/wide_sparse.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.mixers.kronecker import PermutedKronecker, SparseLinear
from hopmix.mixers.wide_sparse.ensemble import Ensemble
from hopmix.mixers.wide_sparse.networks import KroneckerMLP, SparseMLP
from hopmix.mixers.wide_sparse.similarity import linear_cka
from hopmix.mixers.wide_sparse.width import counts
from hopmix.training.digits import digit_patches

PERMUTATIONS = {"mixer": "commutation", "permuted": "random"}


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one architecture, with `seeds` networks trained beside each other.

    shapes : (tokens, channels) of the Mixers, all with nearly the same mean number of connections.
    sparse_widths : of the sparse MLPs, whose two layers have `connections` each.
    dense_widths : of dense MLPs with two layers: as many trainable numbers as the widest Mixer, without and with the head.
    budgets : total number of weights, head included, of MLPs with one hidden layer -> their widths.
    compared : (tokens, channels) of the Mixer whose features are compared with those of sparse MLPs of these connections.
    spectrum_widths : square layers with `connections` connections, at random places or in equal permuted blocks.
    narrow_epochs : of the MLPs that are dense or have one hidden layer, which take longer to converge.
    fan_in : pixels that each entry of the long input vector sees, through a fixed random embedding.
    """

    seeds: int
    shapes: tuple[tuple[int, int], ...]
    connections: int
    sparse_widths: tuple[int, ...]
    dense_widths: tuple[int, ...]
    budgets: dict[str, tuple[int, ...]] = field(default_factory=dict)
    compared: tuple[int, int] = (12, 12)
    compared_connections: tuple[int, ...] = (20736, 6912, 3456, 1728, 864, 432)
    spectrum_widths: tuple[int, ...] = (64, 128, 256, 512)
    fan_in: int = 8
    training_images: int = 300
    test_images: int = 1000
    epochs: int = 30
    narrow_epochs: int = 100
    batch_size: int = 50
    learning_rate: float = 1e-2
    device: str = "cpu"


def keys(config: Config) -> list:
    """All trials of a study: [kind, then what it needs]."""
    found = [[kind, *shape] for kind in PERMUTATIONS for shape in config.shapes]
    found += [["sparse", width] for width in config.sparse_widths] + [["dense", width] for width in config.dense_widths]
    found += [["one_layer", int(budget), width] for budget, widths in config.budgets.items() for width in widths]
    return [*found, ["similarity"], *(["spectrum", width] for width in config.spectrum_widths)]


def trial(config: Config, key: list) -> dict:
    """One architecture. Accuracies are per seed, on the same images for all architectures."""
    kind, *sizes = key
    if kind in PERMUTATIONS:
        return width_trial(config, kind, *sizes)
    if kind == "sparse":
        return sparse_trial(config, *sizes, config.connections)
    if kind == "dense":
        return sparse_trial(_patient(config), *sizes, sizes[0] ** 2) | {"kind": "dense"}
    if kind == "one_layer":
        return one_layer_trial(_patient(config), *sizes)
    return similarity_trial(config) if kind == "similarity" else spectrum_trial(config, *sizes)


def _patient(config: Config) -> Config:
    return replace(config, epochs=config.narrow_epochs)


@dataclass(frozen=True)
class Task:
    """Images and labels, (samples, seeds, inputs) and (samples, seeds): every seed has its own split and embedding."""

    x: Tensor
    labels: Tensor
    test_x: Tensor
    test_labels: Tensor


def digits_task(config: Config, width: int | None) -> Task:
    """Digits with standardised grey levels, embedded into vectors of ``width`` entries; None leaves the 64 pixels."""
    pixels, labels = digit_patches(8)
    pixels = ((pixels[:, 0] - pixels.mean()) / pixels.std()).float()
    chosen = config.training_images, config.test_images
    parts = []
    for seed in range(config.seeds):
        stream = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(pixels), generator=stream)[: sum(chosen)]
        x = pixels[order]
        if width is not None:
            # A generator of its own for each width: the split must not depend on it.
            embedding = SparseLinear(64, width, config.fan_in * width, dtype=torch.float32, seed=1000 + seed).requires_grad_(False)
            x = embedding(x)
        parts.append((x, labels[order]))
    x, y = (torch.stack(part, 1).to(config.device) for part in zip(*parts, strict=True))
    (x, test_x), (y, test_y) = x.split(chosen), y.split(chosen)
    return Task(x, y, test_x, test_y)


def train_on(config: Config, task: Task, networks: list) -> Ensemble:
    """The networks after training, each on its own split."""
    ensemble = Ensemble(networks)
    ensemble.fit(task.x, task.labels, epochs=config.epochs, batch_size=config.batch_size, learning_rate=config.learning_rate, seed=0)
    return ensemble


def width_trial(config: Config, kind: str, tokens: int, channels: int) -> dict:
    """Mixers, or permuted ones, of one shape."""
    networks = kronecker_networks(config, kind, tokens, channels)
    task = digits_task(config, tokens * channels)
    ensemble = train_on(config, task, networks)
    return {"kind": kind, "tokens": tokens, "channels": channels, **_found(networks[0], tokens * channels, ensemble, task)}


def kronecker_networks(config: Config, kind: str, tokens: int, channels: int, first_seed: int = 0) -> list[KroneckerMLP]:
    """One network for each seed."""
    options = {"permutation": PERMUTATIONS[kind], "dtype": torch.float32, "device": config.device}
    return [KroneckerMLP(tokens, channels, 10, seed=first_seed + seed, **options) for seed in range(config.seeds)]


def sparse_networks(config: Config, widths: list[int], connections) -> list[SparseMLP]:
    """One network for each seed."""
    return [SparseMLP(widths, connections, 10, dtype=torch.float32, device=config.device, seed=seed) for seed in range(config.seeds)]


def sparse_trial(config: Config, width: int, connections: int) -> dict:
    """MLPs with two layers of random connections."""
    networks, task = sparse_networks(config, [width] * 3, connections), digits_task(config, width)
    return {"kind": "sparse", **_found(networks[0], width, train_on(config, task, networks), task)}


def one_layer_trial(config: Config, budget: int, width: int) -> dict:
    """MLPs with one hidden layer on the pixels: what the dense head leaves of the budget are connections to pixels."""
    networks, task = sparse_networks(config, [64, width], budget - 10 * width), digits_task(config, None)
    return {"kind": "one_layer", "budget": budget, **_found(networks[0], width, train_on(config, task, networks), task)}


def _found(network, width: int, ensemble: Ensemble, task: Task) -> dict:
    layers = len(network.layers)
    return {
        "width": width,
        "connections": network.connections / layers,
        "trainable": network.trainable / layers,
        "accuracy": ensemble.accuracy(task.test_x, task.test_labels).cpu().numpy(),
    }


def similarity_trial(config: Config, permuted: bool = True) -> dict:
    """Linear CKA of a trained Mixer's two hidden layers with those of sparse MLPs of its width, on test images, seed by seed.

    For comparison, with permuted Mixers if asked for, and with Mixers that differ in their initial weights alone.
    """
    tokens, channels = config.compared
    width = tokens * channels
    task = digits_task(config, width)

    def features(networks: list) -> list[Tensor]:
        ensemble = train_on(config, task, networks)
        with torch.no_grad():
            return [layer.double() for layer in ensemble(task.test_x.transpose(0, 1), "hidden")]

    mixer = features(kronecker_networks(config, "mixer", tokens, channels))

    def alike(networks: list) -> np.ndarray:
        return torch.stack([linear_cka(a, b) for a, b in zip(mixer, features(networks), strict=True)], 1).cpu().numpy()

    sparse = [alike(sparse_networks(config, [width] * 3, connections)) for connections in config.compared_connections]
    return {
        "kind": "similarity",
        "density": np.array(config.compared_connections) / width**2,
        "mixer_density": counts(tokens, channels).connections / width**2,
        "sparse": np.stack(sparse, 1),  # (seeds, densities, layers)
        "mixer": alike(kronecker_networks(config, "mixer", tokens, channels, first_seed=10_000)),  # (seeds, layers)
    } | ({"permuted": alike(kronecker_networks(config, "permuted", tokens, channels))} if permuted else {})


def spectrum_trial(config: Config, width: int) -> dict:
    """The largest singular value of untrained layers with the same connections, and what the heaviest unit explains of it."""
    fan = config.connections // width
    largest, blocks, heaviest = [], [], []
    for seed in range(config.seeds):
        layer = SparseLinear(width, width, config.connections, dtype=torch.float64, seed=seed)
        largest.append(largest_singular_value(layer))
        squares = layer.matrix().power(2)
        heaviest.append(max(squares.sum(0).max(), squares.sum(1).max()))
        blocks.append(largest_singular_value(PermutedKronecker(width // fan, fan, dtype=torch.float64, seed=seed)))
    heaviest = np.array(heaviest)
    outlier = np.where(heaviest > 2, heaviest / np.sqrt(np.maximum(heaviest, 2) - 1), 2.0)
    return {"kind": "spectrum", "width": width, "largest": largest, "permuted": blocks, "heaviest": heaviest, "outlier": outlier}


def largest_singular_value(layer) -> float:
    """By Lanczos on the operator, which is never written out."""
    start = np.random.default_rng(0).normal(size=min(layer.inputs, layer.outputs))
    return float(svds(layer.linear_operator(), k=1, v0=start, return_singular_vectors=False)[0])


def summarise(config: Config, trials: list[dict]) -> dict:
    """Means over seeds, with standard errors under the same name and ``_error``."""
    found = {}

    def add(name: str, values) -> None:
        values = np.asarray(values)
        found[name] = float(values.mean())
        found[f"{name}_error"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0

    for one in trials:
        if one["kind"] in PERMUTATIONS:
            add(f"{one['kind']}_{one['tokens']}x{one['channels']}", one["accuracy"])
        elif one["kind"] in ("sparse", "dense"):
            add(f"{one['kind']}_{one['width']}", one["accuracy"])
        elif one["kind"] == "one_layer":
            add(f"one_layer_{one['budget']}_{one['width']}", one["accuracy"])
    return found


_BUDGETS = {"296": (4, 8, 12, 16, 20), "592": (8, 16, 24, 40)}
# Mean connections within 1.3 per cent of 4096, then of 32768.
_SHAPES = ((2, 63), (4, 43), (10, 24), (16, 16), (24, 10), (43, 4), (63, 2))
_LARGE = ((2, 180), (4, 126), (8, 87), (16, 56), (32, 32), (56, 16), (87, 8), (126, 4), (180, 2))

EXPERIMENT = Experiment(
    "mixers.wide_sparse",
    version=1,
    scales={
        "smoke": Config(
            seeds=2, shapes=((3, 6), (4, 4)), connections=64, sparse_widths=(8, 16), dense_widths=(4,), budgets={"148": (2, 4)},
            compared=(4, 4), compared_connections=(256, 64), spectrum_widths=(16, 32), training_images=100, test_images=200, epochs=1, narrow_epochs=2,
        ),
        "laptop": Config(seeds=16, shapes=_SHAPES, connections=4096, sparse_widths=(64, 96, 128, 192, 256), dense_widths=(16, 37), budgets=_BUDGETS),
        "gpu": Config(
            seeds=64, shapes=_LARGE, connections=32768, sparse_widths=(181, 256, 512, 1024), dense_widths=(32, 76), budgets=_BUDGETS | {"1184": (16, 24, 32, 48, 64)},
            compared=(16, 16), compared_connections=(65536, 16384, 8192, 4096, 2048, 1024, 512), spectrum_widths=(256, 512, 1024, 2048, 4096),
            epochs=60, learning_rate=3e-3, narrow_epochs=200, device="cuda",
        ),
    },
    trials=keys,
    trial=trial,
    summarise=summarise,
)  # fmt: skip
