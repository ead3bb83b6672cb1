"""Scikit-learn's handwritten digits as tokens: the book's small real images."""

import torch
from torch import Tensor

from hopmix.arguments import generator, size

_SIDE = 8  # the images are 8 x 8 with grey levels 0 to 16


def digit_patches(patch_size: int = 2) -> tuple[Tensor, Tensor]:
    """All 1797 digits, cut into patches.

    Returns
    -------
    patches : (1797, tokens, patch_size**2) float64 in [0, 1], with tokens = (8 / patch_size)**2; tokens and
        the pixels of each patch run row by row.
    labels : (1797,) int64, 0 to 9.

    Raises
    ------
    ImportError : scikit-learn, which ships the images, is not installed.
    ValueError : patch_size is not 1, 2, 4 or 8.
    """
    side = size("patch_size", patch_size)
    if _SIDE % side:
        raise ValueError(f"patch_size must divide the image side 8 (1, 2, 4 or 8), got {patch_size!r}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: install it with  pip install 'hopmix[train]'") from error
    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.float64) / 16  # (batch, 8, 8)
    grid = _SIDE // side
    patches = (
        images.reshape(-1, grid, side, grid, side)  # (batch, row, y, column, x)
        .transpose(2, 3)
        .reshape(-1, grid**2, side**2)  # (batch, tokens, pixels)
    )
    return patches, torch.from_numpy(digits.target).to(torch.int64)


def patch_embed(patches: Tensor, channels: int, seed: int | torch.Generator = 0) -> Tensor:
    """A fixed random linear embedding: (batch, tokens, pixels) to (batch, tokens, channels).

    With channels >= pixels it is an isometry (orthonormal rows: all distances between patches
    are kept), with fewer channels the projection on a random subspace (orthonormal columns).
    Uniformly distributed over such matrices.

    Raises
    ------
    TypeError : patches is no tensor, or seed neither an integer nor a generator.
    ValueError : patches is not a floating-point (batch, tokens, pixels) of finite numbers, or channels is not
        a positive integer.
    """
    if not isinstance(patches, Tensor):
        raise TypeError(f"patches must be a torch.Tensor, got {type(patches).__name__}")
    if patches.dim() != 3 or not patches.is_floating_point():
        found = f"{patches.dtype} {tuple(patches.shape)}"
        raise ValueError(f"patches must be floating point (batch, tokens, pixels), got {found}")
    if patches.shape[-1] == 0:
        raise ValueError(f"patches must have at least one pixel each, got shape {tuple(patches.shape)}")
    if not bool(patches.detach().isfinite().all()):
        raise ValueError("patches has entries that are not finite")
    width = size("channels", channels)
    pixels = patches.shape[-1]
    tall = torch.randn(max(pixels, width), min(pixels, width), generator=generator(seed), dtype=torch.float64)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # without the signs QR is not uniformly distributed, nor the same in every LAPACK
    matrix = q if pixels >= width else q.mT  # (pixels, channels)
    return patches @ matrix.to(patches.device, patches.dtype)
