"""One visible and two hidden layers: the memory behind a Mixer layer (page: book/memory/hopfield_mixer.md)."""

import math

import torch
from torch import Tensor

from hopmix.memory.hierarchical import HierarchicalMemory, Kronecker, Layer, Synapse
from hopmix.memory.lagrangian import Lagrangian, LayerNorm, lagrangian
from hopmix.arguments import available_device, choice, floating_dtype, generator, number, size

_SYNAPSES = ("kronecker", "rank_one")


def three_layer_memory(
    tokens: int,
    channels: int,
    token_hidden: int,
    channel_hidden: int,
    activation: str | Lagrangian = "gelu",
    norm: str = "joint",
    synapses: str = "kronecker",
    asymmetry: float = 0.0,
    gain: float = 1.0,
    eps: float = 1e-6,
    time_constant: float = 1.0,
    hidden_time_constant: float = 0.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    seed: int | torch.Generator = 0,
) -> HierarchicalMemory:
    """Layers "visible" (tokens, channels), "token_hidden" and "channel_hidden", with random weights.

    With synapses "kronecker" the hidden layers are (token_hidden, channels) and
    (tokens, channel_hidden): each channel has its own token memory and each token its own channel
    memory, and the visible layer receives W^T f(W g) + f(g V^T) V, the mixing of a Mixer.
    With "rank_one" they are (token_hidden, 1) and (1, channel_hidden): one token memory sees the
    sum over channels, one channel memory the sum over tokens.

    Parameters
    ----------
    activation : name or instance of the hidden layers' Lagrangian.
    norm : "joint" or "token", the axes of the visible layer's ``LayerNorm`` with scalar ``gain`` and ``eps``.
    asymmetry : a; the feedback weights are W + a R and V + a Q, with R and Q drawn as W and V
        are, independently. At 0 the memory is symmetric. The seed's W and V do not depend on a.
    hidden_time_constant : 0 eliminates the hidden layers, so that the state is one tensor (batch, tokens, channels).
    dtype : None is float64, the precision of the book's theory.
    seed : W is normal with variance 1/tokens, V with 1/channels.

    Weights and gain are ``torch.nn.Parameter``. Sources: karakida2024hierarchical for the network; the Kronecker
    form is derived on the page.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """
    tokens, channels = size("tokens", tokens), size("channels", channels)
    token_hidden, channel_hidden = size("token_hidden", token_hidden), size("channel_hidden", channel_hidden)
    if not isinstance(activation, str | Lagrangian):
        raise TypeError(f"activation must be the name of a Lagrangian or an instance of one, got {activation!r}")
    norm, synapses = choice("norm", norm, ("joint", "token")), choice("synapses", synapses, _SYNAPSES)
    asymmetry, gain = number("asymmetry", asymmetry), number("gain", gain)
    time_constant = number("time_constant", time_constant, "positive")
    hidden_time_constant = number("hidden_time_constant", hidden_time_constant, "zero")
    dtype, device, stream = floating_dtype(dtype, torch.float64), available_device(device), generator(seed)

    def weight(hidden: int, seen: int) -> Tensor:
        # Drawn in float64 on the CPU, so that a seed means the same memory everywhere.
        return torch.randn(hidden, seen, generator=stream, dtype=torch.float64) / math.sqrt(seen)

    def parameter(value: Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter(value.to(device, dtype))

    token, channel = weight(token_hidden, tokens), weight(channel_hidden, channels)
    feedback = None
    if asymmetry != 0:
        feedback = (
            parameter(token + asymmetry * weight(token_hidden, tokens)),
            parameter(channel + asymmetry * weight(channel_hidden, channels)),
        )
    kronecker = synapses == "kronecker"
    all_tokens = None if kronecker else torch.ones(1, tokens, device=device, dtype=dtype)
    all_channels = None if kronecker else torch.ones(1, channels, device=device, dtype=dtype)
    hidden_shapes = (
        (token_hidden, channels if kronecker else 1),
        (tokens if kronecker else 1, channel_hidden),
    )
    visible_norm = LayerNorm(norm, gain=parameter(torch.tensor(gain, dtype=torch.float64)), eps=eps)
    return HierarchicalMemory(
        [
            Layer("visible", (tokens, channels), visible_norm, time_constant),
            Layer("token_hidden", hidden_shapes[0], lagrangian(activation), hidden_time_constant),
            Layer("channel_hidden", hidden_shapes[1], lagrangian(activation), hidden_time_constant),
        ],
        [
            Synapse(
                "visible",
                "token_hidden",
                Kronecker(parameter(token), all_channels),
                feedback and Kronecker(feedback[0], all_channels),
            ),
            Synapse(
                "visible",
                "channel_hidden",
                Kronecker(all_tokens, parameter(channel)),
                feedback and Kronecker(all_tokens, feedback[1]),
            ),
        ],
    )
