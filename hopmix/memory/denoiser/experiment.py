"""Memories trained to restore digits and photographs, against filters (page: book/memory/denoiser.md)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hopmix.experiment import Experiment
from hopmix.memory.denoiser.filters import posterior_mean, ridge_filter, wiener_filter
from hopmix.memory.denoiser.images import corrupted, cosine, squared_error, standardised
from hopmix.memory.denoiser.model import Denoiser, denoiser_memory
from hopmix.memory.denoiser.training import fit
from hopmix.memory.hopfield_mixer import three_layer_memory
from hopmix.training import digit_patches, photograph_patches

FILTERS = ("noisy", "ridge", "linear", "stored")


@dataclass(frozen=True)
class Config:
    """Sizes of one study; a trial is one set of images and one seed, which splits them and draws weights and noise.

    Images are standardised, so that the noise, `noise` or each of `noises` (of `photograph_noises` for those), is in units of an image's
    own standard deviation. `variants` are trained at `noise`, the first of them at all noises; the paths of the first `followed` test
    images are followed for `long` times the steps they were trained for.
    """

    seeds: int
    photograph_seeds: int
    hidden: int = 100
    noise: float = 1.0
    noises: tuple[float, ...] = (0.5, 1.0, 2.0)
    photograph_noises: tuple[float, ...] = (1.0,)
    variants: tuple[str, ...] = ("start", "driven", "simultaneous")
    train: int = 1000
    validation: int = 200
    test: int = 597
    patch_size: int = 12
    epochs: int = 30
    batch_size: int = 250
    learning_rate: float = 0.01
    long: int = 8
    followed: int = 200
    device: str = "cpu"


def images_of(config: Config, name: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised images (count, rows, columns) in float32: for training, for validation, for testing."""
    counts = (config.train, config.validation, config.test)
    if name == "digits":
        digits = digit_patches(8)[0].reshape(-1, 8, 8)
        order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
        parts = digits[order[: sum(counts)]].split(counts)
    else:
        shown, tested = photograph_patches(config.patch_size, config.train + config.validation, config.test, seed=seed)
        parts = (*shown.split(counts[:2]), tested)
    train, validation, test = (standardised(part).to(config.device, torch.float32) for part in parts)
    return train, validation, test


def variant(name: str, config: Config, shape: tuple[int, ...], seed: int) -> Denoiser:
    """An untrained denoiser.

    "start": fast hidden units, the image only where retrieval begins. "driven": the noisy image is also an input.
    "simultaneous": the public demonstration's dynamics, hidden units as slow as the image and begun at 0. "rest": as "driven",
    up to the rest and differentiated there. "kronecker": as "driven", with a memory for rows and one for columns.
    """
    options = {"dtype": torch.float32, "device": config.device, "seed": seed}
    if name == "kronecker":
        # Rows are tokens, columns are channels; the gain stays 1, so that an image of the memory's length is restored.
        memory = three_layer_memory(*shape, config.hidden, config.hidden, activation="relu", **options)
        memory.layer("visible").lagrangian.gain.requires_grad_(False)
        with torch.no_grad():
            for synapse in memory.synapses:
                for weight in synapse.parameters():
                    weight.mul_(0.2)
    else:
        memory = denoiser_memory(shape, config.hidden, adiabatic=name != "simultaneous", **options)
    if name == "simultaneous":
        return Denoiser(memory, steps=10, step_size=0.1)
    if name == "start":
        return Denoiser(memory, steps=3, step_size=0.5)
    if name == "rest":
        return Denoiser(memory, step_size=0.9, drive=1.0, differentiate="implicit", tolerance=1e-3)
    return Denoiser(memory, steps=3, step_size=0.5, drive=1.0)


def trained(config: Config, name: str, train: Tensor, noise: float, seed: int) -> tuple[Denoiser, list[float]]:
    """A variant after training on standardised images, and the loss of each epoch."""
    denoiser = variant(name, config, tuple(train.shape[1:]), seed)
    losses = fit(denoiser, train, noise, config.epochs, config.batch_size, config.learning_rate, seed=seed)
    return denoiser.requires_grad_(False), losses


def judged(restore, clean: Tensor, noisy: Tensor, tuned: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Mean cosine and mean squared error. The error allows each method one common factor, fitted to the ``tuned`` pair (clean, noisy)."""
    restored, shown = restore(noisy), restore(tuned[1])
    factor = (shown * tuned[0]).sum() / shown.square().sum()
    return float(cosine(restored, clean).mean()), float(squared_error(factor * restored, clean).mean())


def along(denoiser: Denoiser, clean: Tensor, noisy: Tensor, steps: int) -> dict:
    """Cosine and energy per pixel along retrieval, in float64; the largest rise of an image's energy, relative to its largest value."""
    exact = deepcopy(denoiser).double()
    clean, noisy = clean.double(), noisy.double()
    path = exact.path(noisy, steps)
    energy = torch.stack([exact.energy(state, noisy) for state in path])  # (steps + 1, images)
    return {
        "cosine": [cosine(exact.seen(state), clean).mean() for state in path],
        "energy": energy.mean(1) / clean[0].numel(),
        "largest_rise": (energy.diff(dim=0) / energy.abs().amax(0)).max(),
    }


def trial(config: Config, key: list) -> dict:
    """One set of images, one seed. Restorations are judged on images and noise that no training saw."""
    name, seed = key
    train, validation, test = images_of(config, name, seed)
    stream = torch.Generator().manual_seed(10_000 + seed)
    found = {"set": name, "cosine": {}, "error": {}, "variants": {}, "paths": {}, "drive": [], "ridge": []}
    for noise in noises_of(config, name):
        noisy, tuned = corrupted(test, noise, stream), (validation, corrupted(validation, noise, stream))
        ridge, strength = ridge_filter(train, noise, validation, seed=stream)
        denoiser, _ = trained(config, config.variants[0], train, noise, seed)
        methods = dict(zip(FILTERS, (lambda y: y, ridge, wiener_filter(train, noise), posterior_mean(train, noise)), strict=True))
        for method, restore in {**methods, config.variants[0]: denoiser}.items():
            close, error = judged(restore, test, noisy, tuned)
            found["cosine"].setdefault(method, []).append(close)
            found["error"].setdefault(method, []).append(error)
        found["ridge"].append(strength)
        found["drive"].append(0.0 if denoiser.drive is None else float(denoiser.drive))
        if noise != config.noise:
            continue
        for other in config.variants:
            if other != config.variants[0]:
                denoiser, _ = trained(config, other, train, noise, seed)
            close, error = judged(denoiser, test, noisy, tuned)
            found["variants"][other] = {"cosine": close, "error": error, "steps": denoiser.retrieval.steps}
            found["paths"][other] = along(denoiser, test[: config.followed], noisy[: config.followed], config.long * denoiser.retrieval.steps)
    return found


def noises_of(config: Config, name: str) -> tuple[float, ...]:
    """The noises at which a set of images is restored; the main one is among them."""
    return config.noises if name == "digits" else config.photograph_noises


def trials(config: Config) -> list:
    """[set of images, seed]."""
    return [["digits", seed] for seed in range(config.seeds)] + [["photographs", seed] for seed in range(config.photograph_seeds)]


def summarise(config: Config, trials: list[dict]) -> dict:
    """Means over seeds at the main noise, their standard errors, and the largest rise of an energy."""
    found = {}
    for name in sorted({one["set"] for one in trials}):
        mine = [one for one in trials if one["set"] == name]
        main = noises_of(config, name).index(config.noise)
        values = {method: [one["cosine"][method][main] for one in mine] for method in FILTERS}
        values |= {method: [one["variants"][method]["cosine"] for one in mine] for method in config.variants}
        for method, cosines in values.items():
            found[f"{name}_{method}"] = float(np.mean(cosines))
            found[f"{name}_{method}_error"] = float(np.std(cosines, ddof=1) / len(cosines) ** 0.5) if len(cosines) > 1 else 0.0
        for method in config.variants:
            found[f"{name}_{method}_largest_rise"] = max(one["paths"][method]["largest_rise"] for one in mine)
    return found


EXPERIMENT = Experiment(
    "memory.denoiser",
    version=1,
    scales={
        "smoke": Config(seeds=2, photograph_seeds=1, hidden=24, noises=(1.0, 2.0), train=300, validation=60, test=100, patch_size=8, epochs=4, long=3),
        "laptop": Config(seeds=16, photograph_seeds=4),
        "gpu": Config(
            seeds=16, photograph_seeds=16, hidden=2048, noises=(0.25, 0.5, 1.0, 2.0, 4.0), photograph_noises=(0.25, 0.5, 1.0, 2.0, 4.0),
            variants=("start", "driven", "simultaneous", "kronecker", "rest"),
            train=1000, patch_size=28, epochs=200, learning_rate=0.003, device="cuda",
        ),
    },
    trials=trials,
    trial=trial,
    summarise=summarise,
)  # fmt: skip
