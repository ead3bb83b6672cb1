"""The nearest Kronecker product and the nearest Monarch matrix to a matrix (page: book/mixers/wide_sparse.md)."""

from typing import NamedTuple

import torch
from torch import Tensor

from hopmix.arguments import check_finite, size


class Factors(NamedTuple):
    """Two factors and how far their product is from the matrix, in Frobenius norm relative to it."""

    left: Tensor
    right: Tensor
    relative_error: float


def rearrangement(matrix: Tensor, tokens: int, channels: int) -> Tensor:
    """Van Loan's rearrangement: the matrix whose rank is the number of Kronecker terms V (x) W that the given one needs.

    Shape: (hidden_channels * hidden, channels * tokens), with W (hidden, tokens) and V (hidden_channels, channels), to
    (hidden * tokens, hidden_channels * channels). ``hidden`` is tokens and ``hidden_channels`` channels: the matrix is square.
    V (x) W becomes vec(W) vec(V)^T up to the order of rows. Source: vanloan1993approximation.

    Raises
    ------
    ValueError, TypeError : the matrix is not square of size tokens * channels, or not finite.
    """
    blocks = _four_axes(matrix, tokens, channels)  # (I, i, J, j): out channel, out token, in channel, in token
    return blocks.permute(1, 3, 0, 2).reshape(tokens**2, channels**2)


def kronecker_projection(matrix: Tensor, tokens: int, channels: int) -> Factors:
    """V (channels, channels) and W (tokens, tokens) with V (x) W nearest to the matrix, both of equal norm.

    The best rank-one approximation of the rearrangement, by Eckart and Young. Shape and errors as for ``rearrangement``.
    """
    arranged = rearrangement(matrix, tokens, channels)
    u, s, vh = torch.linalg.svd(arranged, full_matrices=False)
    root = s[0].sqrt()
    error = float(s[1:].square().sum().sqrt() / _norm(matrix))
    return Factors((root * vh[0]).reshape(channels, channels), (root * u[:, 0]).reshape(tokens, tokens), error)


def monarch_projection(matrix: Tensor, tokens: int, channels: int) -> Factors:
    """Blocks of the Monarch matrix nearest to the matrix: (tokens, channels, channels) for L, (channels, tokens, tokens) for R.

    Each slice with the out token and the in channel fixed is approximated by its top singular pair. Shape and errors as for
    ``rearrangement``. Source: dao2022monarch.
    """
    blocks = _four_axes(matrix, tokens, channels)
    u, s, vh = torch.linalg.svd(blocks.permute(1, 2, 0, 3), full_matrices=False)  # slices (i, J) of (I, j)
    root = s[..., 0].sqrt()
    left = (u[..., 0] * root[..., None]).permute(0, 2, 1)  # (i, I, J)
    right = (vh[..., 0, :] * root[..., None]).permute(1, 0, 2)  # (J, i, j)
    return Factors(left.contiguous(), right.contiguous(), float(s[..., 1:].square().sum().sqrt() / _norm(matrix)))


def _four_axes(matrix: Tensor, tokens: int, channels: int) -> Tensor:
    tokens, channels = size("tokens", tokens), size("channels", channels)
    if not isinstance(matrix, Tensor):
        raise TypeError(f"matrix must be a torch.Tensor, got {type(matrix).__name__}")
    n = tokens * channels
    if matrix.shape != (n, n):
        raise ValueError(f"matrix must have shape ({n}, {n}), got {tuple(matrix.shape)}")
    if not (matrix.is_floating_point() or matrix.is_complex()):
        raise TypeError(f"matrix must be floating point or complex, got {matrix.dtype}")
    check_finite("matrix", matrix)
    return matrix.reshape(channels, tokens, channels, tokens)


def _norm(matrix: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(matrix)
    if norm == 0:
        raise ValueError("matrix is zero, so no error is relative to it")
    return norm
