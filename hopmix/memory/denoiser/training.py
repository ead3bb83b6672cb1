"""Training by restoring: the loss, and the loop around it (page: book/memory/denoiser.md)."""

import torch
from torch import Tensor

from hopmix.arguments import choice, number
from hopmix.memory.denoiser.images import _check, corrupted, standardised
from hopmix.memory.denoiser.model import Denoiser
from hopmix.training import train

TARGETS = ("layernorm", "unit")


def target_of(clean: Tensor, target: str = "layernorm") -> Tensor:
    """What the activations are compared with: the standardised image, or with "unit" the image divided by its norm.

    "unit" is what the public demonstration of karakida2024hierarchical does; no activation of LayerNorm comes near it.
    """
    if choice("target", target, TARGETS) == "layernorm":
        return standardised(clean)
    norm = clean.flatten(1).norm(dim=1)
    return clean / norm.view(-1, *[1] * (clean.dim() - 1))


def restoration_loss(denoiser: Denoiser, clean: Tensor, noisy: Tensor, target: str = "layernorm") -> Tensor:
    """The mean square over images and pixels of the restored activations less their target; a scalar."""
    return (denoiser(noisy) - target_of(clean, target)).square().mean()


def fit(
    denoiser: Denoiser,
    clean: Tensor,
    noise: float,
    epochs: int = 40,
    batch_size: int = 128,
    learning_rate: float = 1e-2,
    target: str = "layernorm",
    seed: int | torch.Generator = 0,
    progress: bool = False,
) -> list[float]:
    """Train in place on fresh noise in every batch; the mean loss of each epoch. Raises as ``hopmix.training.train`` does.

    clean : (images, *shape), on the denoiser's device and of its dtype. noise : standard deviation per pixel.
    """
    if not isinstance(denoiser, Denoiser):
        raise TypeError(f"denoiser must be a Denoiser, got {type(denoiser).__name__}")
    _check("clean", clean)
    noise, target = number("noise", noise, "zero"), choice("target", target, TARGETS)

    def loss(batch: Tensor, stream: torch.Generator) -> Tensor:
        return restoration_loss(denoiser, batch, corrupted(batch, noise, stream), target)

    return train(
        [parameter for parameter in denoiser.parameters() if parameter.requires_grad],
        loss,
        [clean],
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        progress=progress,
    )
