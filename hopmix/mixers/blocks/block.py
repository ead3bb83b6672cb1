"""One Mixer block: two branches, one after the other or side by side (page: book/mixers/blocks.md)."""

import torch
from torch import Tensor

from hopmix.arguments import available_device, check_batch, choice, floating_dtype, generator, size
from hopmix.mixers.blocks.mixing import Mixing
from hopmix.mixers.blocks.norm import Norm

ORDERS = ("parallel", "serial")


class MixerBlock(torch.nn.Module):
    """Token mixing and channel mixing with skip connections, ``n_iter`` times with the same weights.

        parallel   g = LN(x),  x <- x + Tok(g) + Ch(g)
        serial     x <- x + Tok(LN1(x)),  x <- x + Ch(LN2(x))

    Tok is a ``Mixing`` over the tokens of each channel, Ch one over the channels of each token. The parallel block has
    one norm, ``norm``; the serial block has ``token_norm`` and ``channel_norm``.

    Parameters
    ----------
    token_hidden, channel_hidden : hidden units of the two branches.
    activation, weights, bias : as in ``Mixing``.
    order : "parallel" or "serial".
    norm, gain, eps : as in ``Norm``.
    seed : weights are Xavier-uniform; gains start at 1, shifts and biases at 0.

    Shape: (batch, tokens, channels) to the same. Sources: tolstikhin2021mlp (serial), karakida2024hierarchical
    (parallel, joint norm, symmetric and asymmetric weights).

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        token_hidden: int,
        channel_hidden: int,
        activation: str = "gelu",
        order: str = "parallel",
        weights: str = "free",
        norm: str = "joint",
        gain: str = "elementwise",
        n_iter: int = 1,
        bias: bool = False,
        eps: float = 1e-6,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        self.tokens, self.channels = size("tokens", tokens), size("channels", channels)
        self.order, self.n_iter = choice("order", order, ORDERS), size("n_iter", n_iter)
        token_hidden, channel_hidden = size("token_hidden", token_hidden), size("channel_hidden", channel_hidden)
        device, dtype, stream = available_device(device), floating_dtype(dtype, torch.get_default_dtype()), generator(seed)

        def norm_of() -> Norm:
            return Norm(self.tokens, self.channels, norm, gain, eps, device, dtype)

        def mixing(length: int, hidden: int) -> Mixing:
            return Mixing(length, hidden, activation, weights, bias, device, dtype, stream)

        if order == "parallel":
            self.norm = norm_of()
        else:
            self.token_norm, self.channel_norm = norm_of(), norm_of()
        self.token, self.channel = mixing(self.tokens, token_hidden), mixing(self.channels, channel_hidden)

    def forward(self, x: Tensor, paths: Tensor | None = None) -> Tensor:
        """paths : (n_iter, 2, batch), factors of the token and the channel branch of each sample; None is 1."""
        self._check("x", x)
        if paths is not None and paths.shape != (self.n_iter, 2, len(x)):
            raise ValueError(f"paths must have shape ({self.n_iter}, 2, {len(x)}), got {tuple(paths.shape)}")
        for turn in range(self.n_iter):
            by_token, by_channel = (None, None) if paths is None else paths[turn, :, :, None, None]
            if self.order == "parallel":
                g = self.norm(x)
                x = x + _scaled(self._token_mixing(g), by_token) + _scaled(self.channel(g), by_channel)
            else:
                x = x + _scaled(self._token_mixing(self.token_norm(x)), by_token)
                x = x + _scaled(self.channel(self.channel_norm(x)), by_channel)
        return x

    def token_mixing(self, g: Tensor) -> Tensor:
        """Tok(g): (batch, tokens, channels) to the same, each channel by itself."""
        self._check("g", g)
        return self._token_mixing(g)

    def channel_mixing(self, g: Tensor) -> Tensor:
        """Ch(g): (batch, tokens, channels) to the same, each token by itself."""
        self._check("g", g)
        return self.channel(g)

    def token_branch(self, x: Tensor) -> Tensor:
        """Tok(LN(x)), what the token branch adds to x: (batch, tokens, channels) to the same."""
        self._check("x", x)
        return self._token_mixing((self.norm if self.order == "parallel" else self.token_norm)(x))

    def channel_branch(self, x: Tensor) -> Tensor:
        """Ch(LN(x)), what the channel branch adds to x: (batch, tokens, channels) to the same."""
        self._check("x", x)
        return self.channel((self.norm if self.order == "parallel" else self.channel_norm)(x))

    def symmetry_penalty(self) -> Tensor:
        """Sum of squares of what both branches' output weights depart from tied ones by; see ``Mixing.departure``."""
        return self.token.departure().square().sum() + self.channel.departure().square().sum()

    def _token_mixing(self, g: Tensor) -> Tensor:
        return self.token(g.mT).mT

    def _check(self, name: str, x: Tensor) -> None:
        check_batch(name, x, (self.tokens, self.channels), self.token.inward)

    def extra_repr(self) -> str:
        return f"order={self.order!r}, n_iter={self.n_iter}"


def _scaled(branch: Tensor, factor: Tensor | None) -> Tensor:
    return branch if factor is None else branch * factor
