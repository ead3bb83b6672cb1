"""Linear centred kernel alignment of two sets of features (page: book/mixers/wide_sparse.md)."""

import torch
from torch import Tensor

from hopmix.arguments import check_finite


def linear_cka(first: Tensor, second: Tensor) -> Tensor:
    """|A^T B|^2 / (|A^T A| |B^T B|) with centred columns: 1 for features equal up to rotation, shift and scale.

    Shape: (..., samples, features) and (..., samples, other features) to (...). Source: kornblith2019similarity.

    Raises
    ------
    ValueError, TypeError : no floating-point tensors, other samples, entries that are not finite, features that do not vary.
    """
    for name, x in (("first", first), ("second", second)):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"{name} must be a floating-point torch.Tensor, got {x.dtype if isinstance(x, Tensor) else type(x).__name__}")
        if x.dim() < 2:
            raise ValueError(f"{name} must have shape (..., samples, features), got {tuple(x.shape)}")
        check_finite(name, x)
    if first.shape[-2] != second.shape[-2]:
        raise ValueError(f"second must have the {first.shape[-2]} samples of first, got {second.shape[-2]}")
    a, b = (x - x.mean(-2, keepdim=True) for x in (first, second))
    sizes = [_product(x, x) for x in (a, b)]
    for name, size in zip(("first", "second"), sizes, strict=True):
        if bool((size == 0).any()):
            raise ValueError(f"{name} has features that do not vary over the samples")
    return _product(a, b).square() / (sizes[0] * sizes[1])


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(a.mT @ b)
