"""What the memory is compared with: linear filters, and the posterior mean over stored images (page: book/memory/denoiser.md).

All work on flattened images and give the shape back. ``clean`` is always the training set, (count, *shape).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hopmix.arguments import check_batch, generator, number
from hopmix.memory.denoiser.images import _check, corrupted, squared_error

Filter = Callable[[Tensor], Tensor]


def linear_filter(matrix: Tensor, mean: Tensor) -> Filter:
    """noisy -> mean + (noisy - mean) matrix^T, for matrix (pixels, pixels) and mean (*shape)."""

    def restore(noisy: Tensor) -> Tensor:
        _check("noisy", noisy)
        check_batch("noisy", noisy, tuple(mean.shape), mean)
        return ((noisy - mean).flatten(1) @ matrix.T).reshape(noisy.shape) + mean

    return restore


def wiener_filter(clean: Tensor, noise: float) -> Filter:
    """The affine filter with the smallest expected squared error over images drawn from ``clean`` and all noise: S (S + noise^2)^-1.

    S is the covariance of the pixels. Raises TypeError and ValueError for what is no batch of images or no positive noise.
    """
    _check("clean", clean)
    variance = number("noise", noise, "positive") ** 2
    mean = clean.mean(0)
    centred = (clean - mean).flatten(1)
    covariance = centred.T @ centred / len(clean)
    noisy = covariance + variance * torch.eye(len(covariance), dtype=clean.dtype, device=clean.device)
    return linear_filter(torch.linalg.solve(noisy, covariance).T, mean)


def ridge_filter(
    clean: Tensor,
    noise: float,
    validation: Tensor,
    ridges: Sequence[float] = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    seed: int | torch.Generator = 0,
) -> tuple[Filter, float]:
    """The affine filter fitted to one noisy copy of each image by least squares, with the ridge that restores ``validation`` best.

    The ridge is added to the covariance of the noisy pixels. Returns the filter and the ridge. Raises as ``wiener_filter``; also
    ValueError for no ridges or negative ones.
    """
    _check("clean", clean)
    _check("validation", validation)
    check_batch("validation", validation, tuple(clean.shape[1:]), clean)
    noise = number("noise", noise, "positive")
    if not isinstance(ridges, Sequence) or isinstance(ridges, str):
        raise TypeError(f"ridges must be a sequence of numbers, got {ridges!r}")
    ridges = [number("each of ridges", ridge, "zero") for ridge in ridges]
    if not ridges:
        raise ValueError("ridges is empty: there is none to choose")
    stream = generator(seed)
    noisy, tried = corrupted(clean, noise, stream), corrupted(validation, noise, stream)
    mean, shown = clean.mean(0), noisy.mean(0)
    x, y = (clean - mean).flatten(1), (noisy - shown).flatten(1)
    second, cross = y.T @ y / len(y), y.T @ x / len(y)
    unit = torch.eye(len(second), dtype=clean.dtype, device=clean.device)
    best: tuple[float, Filter, float] | None = None
    for ridge in ridges:
        matrix = torch.linalg.solve(second + ridge * unit, cross).T
        restore = _shifted(linear_filter(matrix, shown), mean - shown)
        error = float(squared_error(restore(tried), validation).mean())
        if best is None or error < best[0]:
            best = error, restore, ridge
    return best[1], best[2]


def _shifted(restore: Filter, shift: Tensor) -> Filter:
    return lambda noisy: restore(noisy) + shift


def posterior_mean(stored: Tensor, noise: float) -> Filter:
    """E[image | noisy] where the image is one of ``stored``, each as likely, under normal noise: Bayes' best squared error.

    For stored images of one length it is one step of the memory with softmax neurons, inverse temperature 1/noise^2:
    stored^T softmax(stored . noisy / noise^2). Source: krotov2021large for the memory; the statement is derived on the page.
    """
    _check("stored", stored)
    precision = number("noise", noise, "positive") ** -2

    def restore(noisy: Tensor) -> Tensor:
        _check("noisy", noisy)
        check_batch("noisy", noisy, tuple(stored.shape[1:]), stored)
        flat, memories = noisy.flatten(1), stored.flatten(1)
        logits = precision * (flat @ memories.T - memories.square().sum(1) / 2)
        return (torch.softmax(logits, 1) @ memories).reshape(noisy.shape)

    return restore
