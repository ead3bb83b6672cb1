"""A memory trained to restore noisy images (page: book/memory/denoiser.md).

>>> import torch
>>> from hopmix.memory.denoiser import Denoiser, corrupted, denoiser_memory, fit, standardised
>>> images = standardised(torch.rand(64, 6, 6, generator=torch.Generator().manual_seed(0)))
>>> denoiser = Denoiser(denoiser_memory((6, 6), hidden=20, dtype=torch.float32), steps=4)
>>> losses = fit(denoiser, images, noise=1.0, epochs=2, batch_size=32)
>>> denoiser(corrupted(images, noise=1.0)).shape
torch.Size([64, 6, 6])
"""

from hopmix.memory.denoiser.filters import linear_filter, posterior_mean, ridge_filter, wiener_filter
from hopmix.memory.denoiser.images import corrupted, cosine, squared_error, standardised
from hopmix.memory.denoiser.model import Denoiser, denoiser_memory
from hopmix.memory.denoiser.training import fit, restoration_loss

__all__ = [
    "denoiser_memory",
    "Denoiser",
    "fit",
    "restoration_loss",
    "standardised",
    "corrupted",
    "cosine",
    "squared_error",
    "wiener_filter",
    "ridge_filter",
    "linear_filter",
    "posterior_mean",
]
