"""Token and channel mixing as wide layers, and the permuted family (page: book/mixers/wide_sparse.md)."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.arguments import available_device, choice, generator, size
from hopmix.mixers.kronecker.vec import check_permutation, commutation, random_permutation
from hopmix.mixers.kronecker.wide_linear import WideLinear, as_array, normal_weight, optional_size

PERMUTATIONS = ("identity", "commutation", "random")


class TokenMixing(WideLinear):
    """X -> W X as a wide layer: the matrix I_C (x) W, with C equal blocks.

    Parameters
    ----------
    hidden : rows of W, None is ``tokens``.
    gain : W is normal with variance gain^2 / tokens.

    Shape: (batch, tokens * channels) to (batch, hidden * channels), vectors as ``vec`` makes them. ``weight`` is (hidden, tokens).
    Source: hayase2024understanding.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        hidden: int | None = None,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        s, c = size("tokens", tokens), size("channels", channels)
        hidden = optional_size("hidden", hidden, s)
        super().__init__(s * c, hidden * c, s * c * hidden)
        self.tokens, self.channels, self.hidden = s, c, hidden
        self.weight = normal_weight(hidden, self.tokens, fan_in=self.tokens, gain=gain, seed=seed, device=device, dtype=dtype)

    def _apply_to(self, x: Tensor) -> Tensor:
        columns = x.unflatten(1, (self.channels, self.tokens))  # (batch, channels, tokens)
        return F.linear(columns, self.weight).flatten(1)

    def matrix(self) -> scipy.sparse.csr_array:
        return scipy.sparse.kron(scipy.sparse.eye_array(self.channels), as_array(self.weight), format="csr")


class ChannelMixing(WideLinear):
    """X -> X V^T as a wide layer: the matrix V (x) I_S, which has S equal blocks after a commutation on either side.

    Parameters
    ----------
    hidden : rows of V, None is ``channels``.
    gain : V is normal with variance gain^2 / channels.

    Shape: (batch, tokens * channels) to (batch, tokens * hidden). ``weight`` is (hidden, channels). Source and errors as for
    ``TokenMixing``.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        hidden: int | None = None,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        s, c = size("tokens", tokens), size("channels", channels)
        hidden = optional_size("hidden", hidden, c)
        super().__init__(s * c, s * hidden, s * c * hidden)
        self.tokens, self.channels, self.hidden = s, c, hidden
        self.weight = normal_weight(hidden, self.channels, fan_in=self.channels, gain=gain, seed=seed, device=device, dtype=dtype)

    def _apply_to(self, x: Tensor) -> Tensor:
        columns = x.unflatten(1, (self.channels, self.tokens))  # (batch, channels, tokens)
        return (self.weight @ columns).flatten(1)

    def matrix(self) -> scipy.sparse.csr_array:
        return scipy.sparse.kron(as_array(self.weight), scipy.sparse.eye_array(self.tokens), format="csr")


class PermutedKronecker(WideLinear):
    """x -> J1 (I (x) W) J2 x: one small matrix for all ``blocks`` of the vector, between two fixed permutations.

    With J1 = J2 = identity and W over tokens this is ``TokenMixing(size, blocks)``. With the commutation permutations it is
    ``ChannelMixing(blocks, size)``. With random ones no block pattern is left; connections and trainable numbers stay.

    Parameters
    ----------
    blocks, block_size : the input has blocks * block_size entries.
    hidden : rows of W, None is ``block_size``.
    left, right : J1 and J2. "identity"; "commutation", the one that makes X^T of X (right) and back (left); "random"; or an int64
        index vector. They are frozen, belong to the state dict, and are drawn from the seed after W, first J2.
    gain : W is normal with variance gain^2 / block_size.

    Shape: (batch, blocks * block_size) to (batch, blocks * hidden). Source: hayase2024understanding for the random case.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        blocks: int,
        block_size: int,
        hidden: int | None = None,
        left: str | Tensor = "random",
        right: str | Tensor = "random",
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        count, length = size("blocks", blocks), size("block_size", block_size)
        hidden = optional_size("hidden", hidden, length)
        super().__init__(count * length, count * hidden, count * length * hidden)
        self.blocks, self.block_size, self.hidden = count, length, hidden
        stream = generator(seed)
        self.weight = normal_weight(hidden, length, fan_in=length, gain=gain, seed=stream, device=device, dtype=dtype)
        self.register_buffer("right", _permutation("right", right, count, length, stream, device))
        self.register_buffer("left", _permutation("left", left, hidden, count, stream, device))

    def _apply_to(self, x: Tensor) -> Tensor:
        x = x if self.right is None else x.index_select(1, self.right)
        y = F.linear(x.unflatten(1, (self.blocks, self.block_size)), self.weight).flatten(1)
        return y if self.left is None else y.index_select(1, self.left)

    def matrix(self) -> scipy.sparse.csr_array:
        middle = scipy.sparse.kron(scipy.sparse.eye_array(self.blocks), as_array(self.weight), format="csr")
        if self.right is not None:
            middle = middle @ _permutation_matrix(self.right)
        return middle if self.left is None else _permutation_matrix(self.left) @ middle


def _permutation(name: str, given: str | Tensor, rows: int, columns: int, stream: torch.Generator, device: torch.device | str | None) -> Tensor | None:
    """The index vector for a vector that is vec of a (rows, columns) matrix; None for the identity."""
    if isinstance(given, Tensor):
        check_permutation(name, given, rows * columns)
        return given.detach().clone().to(available_device(device) or given.device)
    if choice(name, given, PERMUTATIONS) == "identity":
        return None
    return commutation(rows, columns, device) if given == "commutation" else random_permutation(rows * columns, stream, device)


def _permutation_matrix(index: Tensor) -> scipy.sparse.csr_array:
    columns, n = index.cpu().numpy(), len(index)
    return scipy.sparse.csr_array((np.ones(n), (np.arange(n), columns)), shape=(n, n))
