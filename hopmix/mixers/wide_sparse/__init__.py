"""A Mixer is a wide and sparse MLP: the equality, its widths, and networks to compare (page: book/mixers/wide_sparse.md)."""

from hopmix.mixers.wide_sparse.ensemble import Ensemble
from hopmix.mixers.wide_sparse.equal import WideBlock, WideLayer, to_wide
from hopmix.mixers.wide_sparse.networks import KroneckerMLP, SparseMLP, WideNetwork
from hopmix.mixers.wide_sparse.similarity import linear_cka
from hopmix.mixers.wide_sparse.width import Counts, counts, effective_width, widest

__all__ = [
    "Counts",
    "Ensemble",
    "KroneckerMLP",
    "SparseMLP",
    "WideBlock",
    "WideLayer",
    "WideNetwork",
    "counts",
    "effective_width",
    "linear_cka",
    "to_wide",
    "widest",
]
