"""A Mixer block, with all it has, as the equal wide and sparse MLP (page: book/mixers/wide_sparse.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from hopmix.arguments import check_batch
from hopmix.mixers.blocks.block import MixerBlock
from hopmix.mixers.blocks.mixing import ACTIVATIONS, Mixing
from hopmix.mixers.blocks.norm import Norm
from hopmix.mixers.kronecker.vec import unvec, vec

Sparse = scipy.sparse.csr_array


@dataclass(frozen=True)
class WideNorm:
    """LayerNorm of a long vector: means by ``pool``, (groups, N), back to all entries by ``spread``, (N, groups)."""

    pool: Sparse
    spread: Sparse
    gain: np.ndarray
    shift: np.ndarray
    eps: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, batch) to the same."""
        centred = x - self.spread @ (self.pool @ x)
        deviation = np.sqrt(self.pool @ centred**2 + self.eps)
        return self.gain[:, None] * centred / (self.spread @ deviation) + self.shift[:, None]


@dataclass(frozen=True)
class WideLayer:
    """x -> x + outward f(inward norm(x) + hidden_bias) + bias, for N = tokens * channels entries and M hidden units.

    inward is (M, N), outward (N, M), both scipy.sparse.
    """

    norm: WideNorm
    inward: Sparse
    hidden_bias: np.ndarray
    outward: Sparse
    bias: np.ndarray
    activation: str

    @property
    def connections(self) -> int:
        """Nonzero weights, equal ones counted each time."""
        return self.inward.nnz + self.outward.nnz

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, batch) to the same."""
        hidden = self.inward @ self.norm(x) + self.hidden_bias[:, None]
        hidden = ACTIVATIONS[self.activation](torch.from_numpy(hidden)).numpy()
        return x + self.outward @ hidden + self.bias[:, None]


@dataclass(frozen=True)
class WideBlock:
    """The layers of ``to_wide``, run one after the other; it takes and returns what the block does, in float64."""

    tokens: int
    channels: int
    layers: tuple[WideLayer, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, tokens, channels) float64 on the CPU to the same."""
        check_batch("x", x, (self.tokens, self.channels), torch.empty(0, dtype=torch.float64))
        long = vec(x.detach()).numpy().T
        for layer in self.layers:
            long = layer(long)
        return unvec(torch.from_numpy(np.ascontiguousarray(long.T)), self.tokens, self.channels)


def to_wide(block: MixerBlock) -> WideBlock:
    """The wide MLP that computes what the block computes: Kronecker weights, biases and norms on vec(X).

    A serial block becomes two layers, a parallel block one whose hidden units are those of both branches; ``n_iter`` repeats them.
    The weights are scipy.sparse matrices in float64: meant for small sizes, and for looking at. No Mixer needs them to run.

    Raises
    ------
    TypeError : block is no MixerBlock.
    """
    if not isinstance(block, MixerBlock):
        raise TypeError(f"block must be a MixerBlock, got {type(block).__name__}")
    s, c = block.tokens, block.channels
    token, channel = _token_branch(block.token, c), _channel_branch(block.channel, s)
    activation = block.token.activation
    if block.order == "serial":
        halves = ((block.token_norm, token), (block.channel_norm, channel))
        layers = tuple(WideLayer(_norm(norm), *branch, activation) for norm, branch in halves)
    else:
        (w, a, o, b), (v, d, q, e) = token, channel
        both = (scipy.sparse.vstack([w, v], format="csr"), np.concatenate([a, d]), scipy.sparse.hstack([o, q], format="csr"), b + e)
        layers = (WideLayer(_norm(block.norm), *both, activation),)
    return WideBlock(s, c, layers * block.n_iter)


def _token_branch(mixing: Mixing, channels: int) -> tuple[Sparse, np.ndarray, Sparse, np.ndarray]:
    """I_C (x) W, 1_C (x) a, I_C (x) O^T, 1_C (x) b."""
    inward, hidden_bias, outward, bias = _weights(mixing)
    eye, ones = scipy.sparse.eye_array(channels), np.ones(channels)
    return (
        scipy.sparse.kron(eye, inward, format="csr"),
        np.kron(ones, hidden_bias),
        scipy.sparse.kron(eye, outward.T, format="csr"),
        np.kron(ones, bias),
    )


def _channel_branch(mixing: Mixing, tokens: int) -> tuple[Sparse, np.ndarray, Sparse, np.ndarray]:
    """V (x) I_S, a (x) 1_S, Q^T (x) I_S, b (x) 1_S."""
    inward, hidden_bias, outward, bias = _weights(mixing)
    eye, ones = scipy.sparse.eye_array(tokens), np.ones(tokens)
    return (
        scipy.sparse.kron(inward, eye, format="csr"),
        np.kron(hidden_bias, ones),
        scipy.sparse.kron(outward.T, eye, format="csr"),
        np.kron(bias, ones),
    )


def _weights(mixing: Mixing) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W (hidden, size), its bias, O (hidden, size), its bias."""
    inward = _array(mixing.inward)
    if mixing.outward is not None:
        outward = _array(mixing.outward)
    elif mixing.breaking is not None:
        outward = inward + _array(mixing.breaking)
    else:
        outward = inward if mixing.signs is None else _array(mixing.signs)[:, None] * inward
    if mixing.bias is None:
        return inward, np.zeros(mixing.hidden), outward, np.zeros(mixing.size)
    return inward, _array(mixing.hidden_bias), outward, _array(mixing.bias)


def _norm(norm: Norm) -> WideNorm:
    s, c = norm.tokens, norm.channels
    if norm.norm == "token":
        spread = scipy.sparse.kron(np.ones((c, 1)), scipy.sparse.eye_array(s), format="csr")
    else:
        spread = scipy.sparse.csr_array(np.ones((s * c, 1)))
    pool = scipy.sparse.csr_array(spread.T * (spread.shape[1] / (s * c)))
    return WideNorm(pool, spread, _entries(norm.gain, s, c, 1.0), _entries(norm.shift, s, c, 0.0), norm.eps)


def _entries(value: Tensor | None, tokens: int, channels: int, default: float) -> np.ndarray:
    """vec of a gain or a shift, whatever its shape."""
    value = torch.tensor(default) if value is None else value.detach().cpu()
    return vec(value.to(torch.float64).expand(tokens, channels)).numpy()


def _array(weight: Tensor) -> np.ndarray:
    return weight.detach().cpu().to(torch.float64).numpy()
