"""Monarch matrices: two block-diagonal factors with blocks of their own (page: book/mixers/wide_sparse.md)."""

import scipy.sparse
import torch
from torch import Tensor

from hopmix.arguments import generator, size
from hopmix.mixers.kronecker.vec import commutation
from hopmix.mixers.kronecker.wide_linear import WideLinear, as_array, normal_weight


class Monarch(WideLinear):
    """x -> K^T L K R x with block-diagonal L and R and the commutation permutation K.

    R has a (tokens, tokens) block for each channel, L a (channels, channels) block for each token. Equal blocks make it
    V (x) W: a linear Mixer layer is a Monarch matrix with shared blocks.

    Parameters
    ----------
    gain : of both factors together; entries of R have variance 1 / tokens, those of L gain^2 / channels.

    Shape: (batch, tokens * channels) to the same, vectors as ``vec`` makes them. ``token_blocks`` is (channels, tokens, tokens),
    ``channel_blocks`` (tokens, channels, channels). ``connections`` counts both factors; the product is dense.
    Source: dao2022monarch, for tokens = channels.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        s, c = size("tokens", tokens), size("channels", channels)
        super().__init__(s * c, s * c, s * c * (s + c))
        self.tokens, self.channels = s, c
        stream = generator(seed)
        self.token_blocks = normal_weight(c, s, s, fan_in=s, gain=1.0, seed=stream, device=device, dtype=dtype)
        self.channel_blocks = normal_weight(s, c, c, fan_in=c, gain=gain, seed=stream, device=device, dtype=dtype)

    def _apply_to(self, x: Tensor) -> Tensor:
        columns = x.unflatten(1, (self.channels, self.tokens))  # (batch, channels, tokens)
        mixed = torch.einsum("cts,bcs->btc", self.token_blocks, columns)
        return torch.einsum("tdc,btc->bdt", self.channel_blocks, mixed).flatten(1)

    def factors(self) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
        """(K^T L K, R), each (tokens * channels, tokens * channels)."""
        back = commutation(self.channels, self.tokens).numpy()
        left = scipy.sparse.block_diag(list(as_array(self.channel_blocks)), format="csr")
        right = scipy.sparse.block_diag(list(as_array(self.token_blocks)), format="csr")
        return scipy.sparse.csr_array(left[back][:, back]), scipy.sparse.csr_array(right)

    def matrix(self) -> scipy.sparse.csr_array:
        left, right = self.factors()
        return left @ right
