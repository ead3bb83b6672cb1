"""The parallel Mixer block (page: book/memory/hopfield_mixer.md)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}
_NORMS = ("joint", "token")
_WEIGHTS = ("symmetric", "free")


class ParallelMixerBlock(torch.nn.Module):
    """x + TokenMixing(g) + ChannelMixing(g), with one norm g = gain LN(x) (+ shift) for both branches.

        TokenMixing(g)   = token_out^T f(token_in g)             (over tokens, for each channel)
        ChannelMixing(g) = f(g channel_in^T) channel_out         (over channels, for each token)

    There are no biases. Both weights of a branch are (hidden, size); with "symmetric" weights the
    two are one parameter, and ``token_out`` and ``channel_out`` are None.

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
    ValueError : naming the argument, the value found and what is allowed.
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
        sizes = {"tokens": tokens, "channels": channels, "token_hidden": token_hidden, "channel_hidden": channel_hidden}
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(f"{name} must be a positive integer, got {size!r}")
        for name, value, allowed in (
            ("activation", activation, _ACTIVATIONS),
            ("norm", norm, _NORMS),
            ("weights", weights, _WEIGHTS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
        if not math.isfinite(gain):
            raise ValueError(f"gain must be finite, got {gain!r}")
        if not (math.isfinite(eps) and eps >= 0):
            raise ValueError(f"eps must be finite and not negative, got {eps!r}")
        generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)

        def weight(hidden: int, size: int) -> torch.nn.Parameter:
            bound = math.sqrt(6 / (hidden + size))
            drawn = torch.rand(hidden, size, generator=generator, dtype=torch.float64) * (2 * bound) - bound
            return torch.nn.Parameter(drawn.to(device, dtype or torch.get_default_dtype()))

        self.tokens, self.channels = tokens, channels
        self.activation, self.norm, self.eps = activation, norm, float(eps)
        self.token_in = weight(token_hidden, tokens)
        self.channel_in = weight(channel_hidden, channels)
        free = weights == "free"
        self.register_parameter("token_out", weight(token_hidden, tokens) if free else None)
        self.register_parameter("channel_out", weight(channel_hidden, channels) if free else None)
        self.gain = torch.nn.Parameter(torch.tensor(float(gain), device=device, dtype=dtype))
        self.register_parameter("shift", None)

    @property
    def symmetric(self) -> bool:
        """Whether each branch uses one matrix both ways."""
        return self.token_out is None

    def normalise(self, x: Tensor) -> Tensor:
        """g, what both branches read: (batch, tokens, channels) to the same."""
        axes = (self.tokens, self.channels) if self.norm == "joint" else (self.channels,)
        g = F.layer_norm(x, axes, eps=self.eps) * self.gain
        return g if self.shift is None else g + self.shift

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or tuple(x.shape[1:]) != (self.tokens, self.channels):
            raise ValueError(f"x must have shape (batch, {self.tokens}, {self.channels}), got {tuple(x.shape)}")
        g = self.normalise(x)
        return x + self.token_mixing(g) + self.channel_mixing(g)

    def token_mixing(self, g: Tensor) -> Tensor:
        """(batch, tokens, channels) to the same: an MLP over the tokens of each channel."""
        out = self.token_in if self.token_out is None else self.token_out
        return F.linear(self._activate(F.linear(g.mT, self.token_in)), out.mT).mT

    def channel_mixing(self, g: Tensor) -> Tensor:
        """(batch, tokens, channels) to the same: an MLP over the channels of each token."""
        out = self.channel_in if self.channel_out is None else self.channel_out
        return F.linear(self._activate(F.linear(g, self.channel_in)), out.mT)

    def _activate(self, x: Tensor) -> Tensor:
        return _ACTIVATIONS[self.activation](x)

    def extra_repr(self) -> str:
        sizes = f"{self.tokens}, {self.channels}, {self.token_in.shape[0]}, {self.channel_in.shape[0]}"
        weights = "symmetric" if self.symmetric else "free"
        return f"{sizes}, activation={self.activation!r}, norm={self.norm!r}, weights={weights!r}, eps={self.eps:g}"
