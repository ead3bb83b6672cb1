"""The bare parallel Mixer block that a memory compiles to (page: book/mixers/blocks.md)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.arguments import available_device, check_batch, choice, floating_dtype, generator, number, size
from hopmix.mixers.blocks.initial import xavier_uniform
from hopmix.mixers.blocks.mixing import ACTIVATIONS

_NORMS = ("joint", "token")
_WEIGHTS = ("symmetric", "free")


class ParallelMixerBlock(torch.nn.Module):
    """x + TokenMixing(g) + ChannelMixing(g), with one norm g = gain LN(x) (+ shift) for both branches.

        TokenMixing(g)   = token_out^T f(token_in g)             (over tokens, for each channel)
        ChannelMixing(g) = f(g channel_in^T) channel_out         (over channels, for each token)

    There are no biases, and the gain is one number, so that symmetric weights make the block a step of an energy;
    ``MixerBlock`` is the block of models, with all their options. Both weights of a branch are (hidden, size); with
    "symmetric" weights the two are one parameter, and ``token_out`` and ``channel_out`` are None.

    Parameters
    ----------
    activation : "gelu" (error-function form), "relu", "tanh" or "identity".
    norm : "joint" normalises over tokens and channels at once, "token" over the channels of each token.
    weights : "free" or "symmetric".
    gain : the initial value of the scalar gain.
    eps : added to the variance, not negative.
    seed : weights are Xavier-uniform.

    Shape: (batch, tokens, channels) to the same. Sources: karakida2024hierarchical (parallel
    block, tied weights), tolstikhin2021mlp.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed; in every method
        for an input that is no tensor (batch, tokens, channels) with the weights' dtype and device.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        token_hidden: int,
        channel_hidden: int,
        activation: str = "gelu",
        norm: str = "joint",
        weights: str = "free",
        gain: float = 1.0,
        eps: float = 1e-6,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        self.tokens, self.channels = size("tokens", tokens), size("channels", channels)
        token_hidden, channel_hidden = size("token_hidden", token_hidden), size("channel_hidden", channel_hidden)
        self.activation, self.norm = choice("activation", activation, ACTIVATIONS), choice("norm", norm, _NORMS)
        free = choice("weights", weights, _WEIGHTS) == "free"
        gain, self.eps = number("gain", gain), number("eps", eps, "zero")
        device, dtype, stream = available_device(device), floating_dtype(dtype, torch.get_default_dtype()), generator(seed)

        def weight(hidden: int, seen: int) -> torch.nn.Parameter:
            return xavier_uniform(hidden, seen, stream, device, dtype)

        self.token_in = weight(token_hidden, self.tokens)
        self.channel_in = weight(channel_hidden, self.channels)
        self.register_parameter("token_out", weight(token_hidden, self.tokens) if free else None)
        self.register_parameter("channel_out", weight(channel_hidden, self.channels) if free else None)
        self.gain = torch.nn.Parameter(torch.tensor(gain, device=device, dtype=dtype))
        self.register_parameter("shift", None)

    @property
    def symmetric(self) -> bool:
        """Whether each branch uses one matrix both ways."""
        return self.token_out is None

    def normalise(self, x: Tensor) -> Tensor:
        """g, what both branches read: (batch, tokens, channels) to the same."""
        self._check("x", x)
        return self._normalise(x)

    def forward(self, x: Tensor) -> Tensor:
        self._check("x", x)
        g = self._normalise(x)
        return x + self._token_mixing(g) + self._channel_mixing(g)

    def token_mixing(self, g: Tensor) -> Tensor:
        """(batch, tokens, channels) to the same: an MLP over the tokens of each channel."""
        self._check("g", g)
        return self._token_mixing(g)

    def channel_mixing(self, g: Tensor) -> Tensor:
        """(batch, tokens, channels) to the same: an MLP over the channels of each token."""
        self._check("g", g)
        return self._channel_mixing(g)

    def _check(self, name: str, x: Tensor) -> None:
        check_batch(name, x, (self.tokens, self.channels), self.token_in)

    def _normalise(self, x: Tensor) -> Tensor:
        axes = (self.tokens, self.channels) if self.norm == "joint" else (self.channels,)
        g = F.layer_norm(x, axes, eps=self.eps) * self.gain
        return g if self.shift is None else g + self.shift

    def _token_mixing(self, g: Tensor) -> Tensor:
        out = self.token_in if self.token_out is None else self.token_out
        return F.linear(self._activate(F.linear(g.mT, self.token_in)), out.mT).mT

    def _channel_mixing(self, g: Tensor) -> Tensor:
        out = self.channel_in if self.channel_out is None else self.channel_out
        return F.linear(self._activate(F.linear(g, self.channel_in)), out.mT)

    def _activate(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](x)

    def extra_repr(self) -> str:
        sizes = f"{self.tokens}, {self.channels}, {self.token_in.shape[0]}, {self.channel_in.shape[0]}"
        weights = "symmetric" if self.symmetric else "free"
        return f"{sizes}, activation={self.activation!r}, norm={self.norm!r}, weights={weights!r}, eps={self.eps:g}"
