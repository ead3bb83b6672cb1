"""Images as the denoiser sees them, their noise, and how a restoration is judged (page: book/memory/denoiser.md)."""

import torch
from torch import Tensor

from hopmix.arguments import check_finite, generator, number


def standardised(images: Tensor) -> Tensor:
    """Each image with mean 0 and mean square 1 over its own pixels: (batch, *shape) gives the same shape.

    This is LayerNorm with eps = 0, so it is what the visible layer's activations look like at best.

    Raises
    ------
    TypeError : no floating-point tensor. ValueError : entries that are not finite, or an image of one grey level.
    """
    _check("images", images)
    axes = tuple(range(1, images.dim()))
    centred = images - images.mean(axes, keepdim=True)
    length = centred.square().mean(axes, keepdim=True).sqrt()
    flat = length <= 64 * torch.finfo(images.dtype).eps * images.abs().amax(axes, keepdim=True)
    if bool(flat.any()):
        raise ValueError(f"images must differ within each image, but {int(flat.sum())} of {len(images)} have one grey level")
    return centred / length


def corrupted(images: Tensor, noise: float, seed: int | torch.Generator = 0) -> Tensor:
    """The images with independent normal noise of standard deviation ``noise`` on every pixel, drawn on the CPU.

    Raises TypeError and ValueError for what is no floating-point batch, and for a noise that is not finite or negative.
    """
    _check("images", images)
    noise, stream = number("noise", noise, "zero"), generator(seed)
    return images + noise * torch.randn(images.shape, generator=stream, dtype=images.dtype).to(images.device)


def cosine(restored: Tensor, clean: Tensor) -> Tensor:
    """The cosine between two images after their means are removed: two (batch, *shape) give (batch,); NaN where one has a single grey level."""
    _check_pair(restored, clean)
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (restored, clean))
    return torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0.0)


def squared_error(restored: Tensor, clean: Tensor) -> Tensor:
    """The mean square over the pixels of their difference: two (batch, *shape) give (batch,)."""
    _check_pair(restored, clean)
    return (restored - clean).flatten(1).square().mean(1)


def _check(name: str, images: Tensor) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        found = f"dtype {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{name} must be a floating-point torch.Tensor, got {found}")
    if images.dim() < 2:
        raise ValueError(f"{name} must be (batch, *shape), got shape {tuple(images.shape)}")
    check_finite(name, images)


def _check_pair(restored: Tensor, clean: Tensor) -> None:
    _check("restored", restored)
    _check("clean", clean)
    if restored.shape != clean.shape:
        raise ValueError(f"restored and clean must have one shape, got {tuple(restored.shape)} and {tuple(clean.shape)}")
    if restored.dtype != clean.dtype or restored.device != clean.device:
        raise TypeError(f"restored and clean must have one dtype and device, got {restored.dtype} on {restored.device} and {clean.dtype} on {clean.device}")
