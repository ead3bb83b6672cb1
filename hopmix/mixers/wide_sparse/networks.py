"""Networks of wide layers: Kronecker, permuted Kronecker, and sparse at random (page: book/mixers/wide_sparse.md)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.arguments import choice, generator, size
from hopmix.mixers.blocks.mixing import ACTIVATIONS
from hopmix.mixers.kronecker.layers import ChannelMixing, PermutedKronecker, TokenMixing
from hopmix.mixers.kronecker.sparse import SparseLinear
from hopmix.mixers.kronecker.wide_linear import WideLinear, normal_weight

_GAIN = math.sqrt(2)  # keeps the mean square through a ReLU


class WideNetwork(torch.nn.Module):
    """h <- f(layer h) for each wide layer, then a dense linear head; no biases but the head's.

    Shape: (batch, inputs of the first layer) to (batch, outputs).

    Raises
    ------
    ValueError, TypeError : layers that do not fit each other, or an argument out of its range.
    """

    def __init__(
        self,
        layers: Sequence[WideLinear],
        outputs: int,
        activation: str = "relu",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        if not layers or not all(isinstance(layer, WideLinear) for layer in layers):
            raise TypeError(f"layers must be one WideLinear or more, got {[type(layer).__name__ for layer in layers]}")
        for before, after in zip(layers, layers[1:], strict=False):
            if before.outputs != after.inputs:
                raise ValueError(f"layers must fit each other, got {before.outputs} outputs before {after.inputs} inputs")
        self.activation, self.outputs = choice("activation", activation, ACTIVATIONS), size("outputs", outputs)
        self.layers = torch.nn.ModuleList(layers)
        width = layers[-1].outputs
        self.head = normal_weight(self.outputs, width, fan_in=width, gain=1.0, seed=seed, device=device, dtype=dtype)
        self.head_bias = torch.nn.Parameter(torch.zeros_like(self.head[:, 0]))

    @property
    def connections(self) -> int:
        """Of the wide layers; the head has outputs * width more."""
        return sum(layer.connections for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Numbers of the wide layers that training may change; the head has outputs * (width + 1) more."""
        return sum(layer.trainable for layer in self.layers)

    def hidden(self, x: Tensor) -> list[Tensor]:
        """The activations after each wide layer, (batch, width) each."""
        found = []
        for layer in self.layers:
            x = ACTIVATIONS[self.activation](layer(x))
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.hidden(x)[-1], self.head, self.head_bias)


class KroneckerMLP(WideNetwork):
    """Token mixing and channel mixing in turn, ``depth`` times, on vectors of tokens * channels entries: f(f(W X) V^T).

    Parameters
    ----------
    permutation : "commutation" is a Mixer without skips and norms; with "random" each layer has its own J1 and J2 in place of
        the commutation, and no axis of the vector is left.

    Shape: (batch, tokens * channels) to (batch, outputs). Source: hayase2024understanding. Errors name the argument.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        outputs: int,
        depth: int = 1,
        permutation: str = "commutation",
        activation: str = "relu",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        s, c, stream = size("tokens", tokens), size("channels", channels), generator(seed)
        options = {"gain": _GAIN if activation == "relu" else 1.0, "device": device, "dtype": dtype, "seed": stream}
        layers = []
        for _ in range(size("depth", depth)):
            if choice("permutation", permutation, ("commutation", "random")) == "commutation":
                layers += [TokenMixing(s, c, **options), ChannelMixing(s, c, **options)]
            else:
                layers += [PermutedKronecker(c, s, **options), PermutedKronecker(s, c, **options)]
        super().__init__(layers, outputs, activation, device, dtype, stream)


class SparseMLP(WideNetwork):
    """Layers with ``connections`` weights each at random places: (widths[0], …) to (batch, outputs).

    Parameters
    ----------
    widths : of the input and of each hidden layer.
    connections : of each wide layer, one number for all or one for each.

    Source: golubeva2021wider. Errors name the argument.
    """

    def __init__(
        self,
        widths: Sequence[int],
        connections: int | Sequence[int],
        outputs: int,
        activation: str = "relu",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        widths, stream = [size("widths", width) for width in widths], generator(seed)
        counts = [connections] * (len(widths) - 1) if isinstance(connections, int) else list(connections)
        if len(widths) < 2 or len(counts) != len(widths) - 1:
            raise ValueError(f"widths must be those of the input and of each layer, one more than connections; got {len(widths)} and {len(counts)}")
        gain = _GAIN if activation == "relu" else 1.0
        layers = [
            SparseLinear(wide, high, count, gain=gain, device=device, dtype=dtype, seed=stream)
            for wide, high, count in zip(widths[:-1], widths[1:], counts, strict=True)
        ]
        super().__init__(layers, outputs, activation, device, dtype, stream)
