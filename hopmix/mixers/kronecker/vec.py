"""Matrices as vectors, column by column, and permutations as index vectors (page: book/mixers/wide_sparse.md)."""

import torch
from torch import Tensor

from hopmix.arguments import available_device, generator, size


def vec(x: Tensor) -> Tensor:
    """The columns of each matrix, one below the other: (..., tokens, channels) to (..., tokens * channels).

    Entry (s, c), counted from 0, goes to s + c * tokens. This is column stacking; row by row, V (x) W would become W (x) V.

    >>> vec(torch.tensor([[0, 2, 4], [1, 3, 5]]))
    tensor([0, 1, 2, 3, 4, 5])

    Raises
    ------
    ValueError, TypeError : x is no tensor with at least two axes.
    """
    _tensor("x", x, 2)
    return x.mT.flatten(-2)


def unvec(x: Tensor, tokens: int, channels: int) -> Tensor:
    """The inverse of ``vec``: (..., tokens * channels) to (..., tokens, channels).

    Raises
    ------
    ValueError, TypeError : x is no tensor whose last axis has tokens * channels entries.
    """
    _tensor("x", x, 1)
    tokens, channels = size("tokens", tokens), size("channels", channels)
    if x.shape[-1] != tokens * channels:
        raise ValueError(f"x must have shape (..., {tokens * channels}), got {tuple(x.shape)}")
    return x.unflatten(-1, (channels, tokens)).mT


def commutation(tokens: int, channels: int, device: torch.device | str | None = None) -> Tensor:
    """The commutation permutation K_{S,C} as indices: vec(X^T) = vec(X)[index] for X (tokens, channels).

    Shape: (tokens * channels,) int64. The inverse is ``commutation(channels, tokens)``.

    >>> commutation(2, 3)
    tensor([0, 2, 4, 1, 3, 5])
    """
    tokens, channels = size("tokens", tokens), size("channels", channels)
    return torch.arange(tokens * channels, device=available_device(device)).reshape(channels, tokens).mT.flatten()


def inverse_permutation(index: Tensor) -> Tensor:
    """The permutation that undoes x[index]: x[index][inverse] = x. Shape: (n,) int64 to the same.

    Raises
    ------
    ValueError, TypeError : index is no permutation of 0 … n - 1.
    """
    check_permutation("index", index)
    return torch.argsort(index)


def random_permutation(length: int, seed: int | torch.Generator = 0, device: torch.device | str | None = None) -> Tensor:
    """A permutation of 0 … length - 1, each as likely as any other, drawn on the CPU. Shape: (length,) int64."""
    return torch.randperm(size("length", length), generator=generator(seed)).to(available_device(device))


def check_permutation(name: str, index: object, length: int | None = None) -> None:
    """Raise TypeError or ValueError unless index is an int64 permutation, of ``length`` entries if that is given."""
    if not isinstance(index, Tensor) or index.dtype != torch.int64:
        found = str(index.dtype) if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"{name} must be a torch.Tensor of int64, got {found}")
    if index.dim() != 1 or (length is not None and len(index) != length):
        raise ValueError(f"{name} must have shape ({'n' if length is None else length},), got {tuple(index.shape)}")
    if not torch.equal(index.sort().values, torch.arange(len(index), device=index.device)):
        raise ValueError(f"{name} must hold each of 0 … {len(index) - 1} once")


def _tensor(name: str, x: object, axes: int) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if x.dim() < axes:
        raise ValueError(f"{name} must have at least {axes} {'axis' if axes == 1 else 'axes'}, got shape {tuple(x.shape)}")
