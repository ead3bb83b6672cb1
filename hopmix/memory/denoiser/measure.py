"""The chapter's study and the measurements behind its claims (page: book/memory/denoiser.md)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hopmix.memory.denoiser.experiment import EXPERIMENT, images_of, trained, trial
from hopmix.memory.denoiser.filters import posterior_mean, wiener_filter
from hopmix.memory.denoiser.images import corrupted, cosine, standardised
from hopmix.memory.denoiser.model import Denoiser, denoiser_memory
from hopmix.memory.denoiser.training import fit, restoration_loss
from hopmix.memory.hierarchical import Retrieval
from hopmix.training import digit_patches

SEEDS = tuple(range(16))
# The chapter's own study at one noise, with less training.
CONFIG = replace(EXPERIMENT.scales["laptop"], noises=(1.0,), variants=("start", "driven"), epochs=24, test=300)
SHAPE, PIXELS = (8, 8), 64


@cache
def study(seed: int) -> dict:
    return trial(CONFIG, ["digits", seed])


@cache
def digits(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised digits in float64, for training, validation and testing."""
    return tuple(standardised(part.double()) for part in images_of(CONFIG, "digits", seed))


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference between two tensors, relative to the largest entry of the second."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)


def least_loss(target: Tensor, seed: int) -> Tensor:
    """The smallest mean square of LayerNorm(state) - target over all states, by minimisation: (batch, rows, columns) gives (batch,)."""
    state = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed), dtype=target.dtype).requires_grad_(True)
    optimiser = torch.optim.LBFGS([state], max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return (torch.nn.functional.layer_norm(state, target.shape[1:], eps=0.0) - target).square().mean((1, 2))

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss().sum()
        value.backward()
        return value

    optimiser.step(closure)
    return loss().detach()


def cosine_with(target: str, seed: int) -> float:
    """The mean cosine to unseen digits after a short training towards a target.

    The digits keep their own means and contrasts, which is where the two targets weigh them differently; the noise is as strong as the mean contrast.
    """
    images = digit_patches(8)[0].reshape(-1, *SHAPE)
    images = (images / images.flatten(1).std(1).mean()).float()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    train, test = images[order[: CONFIG.train]], images[order[-CONFIG.test :]]
    denoiser = Denoiser(denoiser_memory(SHAPE, CONFIG.hidden, dtype=torch.float32, seed=seed), steps=3)
    fit(denoiser, train, 1.0, 12, CONFIG.batch_size, CONFIG.learning_rate, target, seed=seed)
    with torch.no_grad():
        return float(cosine(denoiser(corrupted(test, 1.0, seed)), test).mean())


def stored_against_linear(noise: float) -> tuple[float, float]:
    differences = []
    for seed in SEEDS:
        train, _, test = digits(seed)
        noisy = corrupted(test, noise, 50 + seed)
        close = [float(cosine(restore(noisy), test).mean()) for restore in (posterior_mean(train, noise), wiener_filter(train, noise))]
        differences.append(close[0] - close[1])
    return spread(differences)


@cache
def at_rest(differentiate: str) -> tuple[list[Tensor], float]:
    """Gradients of the loss of a trained memory in weights and drive, and the bytes kept for them."""
    train, _, test = images_of(CONFIG, "digits", 0)
    made, _ = trained(replace(CONFIG, epochs=6), "driven", train, 1.0, 0)
    exact = deepcopy(made).double().requires_grad_(True)
    exact.retrieval = Retrieval(exact.memory, steps=600, step_size=0.9, differentiate=differentiate, tolerance=1e-13)
    clean = test[:16].double()
    kept = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    weights = {weight.untyped_storage().data_ptr() for weight in exact.parameters()}  # there anyway
    with saved_tensors_hooks(pack, lambda x: x):
        loss = restoration_loss(exact, clean, corrupted(clean, 1.0, 3))
    return list(torch.autograd.grad(loss, list(exact.parameters()))), float(sum(size for place, size in kept.items() if place not in weights))
