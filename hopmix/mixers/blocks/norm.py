"""LayerNorm as Mixers use it: over tokens and channels, or over each token's channels (page: book/mixers/blocks.md)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.arguments import available_device, choice, floating_dtype, number, size
from hopmix.mixers.blocks.initial import constant

NORMS = ("joint", "token")
GAINS = ("elementwise", "scalar", "none")


class Norm(torch.nn.Module):
    """g = gain LN(x) + shift.

    Parameters
    ----------
    norm : "joint" normalises over tokens and channels at once, "token" over the channels of each token.
    gain : "elementwise" gives every entry of what is normalised a gain and a shift of its own, (tokens, channels)
        or (channels,); "scalar" has one gain and an elementwise shift, and is then the gradient of a Lagrangian;
        "none" has neither. Gains start at 1, shifts at 0.
    eps : added to the variance, not negative.

    Shape: (batch, tokens, channels) to the same. Source: ba2016layer; karakida2024hierarchical for "joint".

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        norm: str = "joint",
        gain: str = "elementwise",
        eps: float = 1e-6,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.tokens, self.channels = size("tokens", tokens), size("channels", channels)
        self.norm, self.kind, self.eps = choice("norm", norm, NORMS), choice("gain", gain, GAINS), number("eps", eps, "zero")
        device, dtype = available_device(device), floating_dtype(dtype, torch.get_default_dtype())
        self.axes = (self.tokens, self.channels) if norm == "joint" else (self.channels,)
        shape = self.axes if gain == "elementwise" else ()
        self.register_parameter("gain", None if gain == "none" else constant(1.0, *shape, device=device, dtype=dtype))
        self.register_parameter("shift", None if gain == "none" else constant(0.0, *self.axes, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "elementwise":
            return F.layer_norm(x, self.axes, self.gain, self.shift, self.eps)
        g = F.layer_norm(x, self.axes, eps=self.eps)
        return g if self.kind == "none" else g * self.gain + self.shift

    def extra_repr(self) -> str:
        return f"{self.tokens}, {self.channels}, norm={self.norm!r}, gain={self.kind!r}, eps={self.eps:g}"
