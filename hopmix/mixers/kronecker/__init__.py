"""Wide and sparse layers as operators that never build their dense matrix (page: book/mixers/wide_sparse.md).

>>> import torch
>>> from hopmix.mixers.kronecker import TokenMixing, vec
>>> layer = TokenMixing(tokens=4, channels=6)      # the matrix is I_6 (x) W, 24 x 24
>>> x = torch.zeros(5, 4, 6)                       # (batch, tokens, channels)
>>> layer(vec(x)).shape, layer.connections, layer.trainable
(torch.Size([5, 24]), 96, 16)
"""

from hopmix.mixers.kronecker.layers import ChannelMixing, PermutedKronecker, TokenMixing
from hopmix.mixers.kronecker.monarch import Monarch
from hopmix.mixers.kronecker.projection import Factors, kronecker_projection, monarch_projection, rearrangement
from hopmix.mixers.kronecker.sparse import SparseLinear
from hopmix.mixers.kronecker.vec import commutation, inverse_permutation, random_permutation, unvec, vec
from hopmix.mixers.kronecker.wide_linear import WideLinear

__all__ = [
    "ChannelMixing",
    "Factors",
    "Monarch",
    "PermutedKronecker",
    "SparseLinear",
    "TokenMixing",
    "WideLinear",
    "commutation",
    "inverse_permutation",
    "kronecker_projection",
    "monarch_projection",
    "random_permutation",
    "rearrangement",
    "unvec",
    "vec",
]
