"""Many random networks at once: one step of each, its energy, and the terms of the bound (page: book/memory/descent.md).

Written out in batched weights, without the memory's own classes, so that the two check each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hopmix.arguments import choice, generator, number, size
from hopmix.memory.descent.bound import GELU_CONCAVITY

_NORMS, _ACTIVATIONS = ("joint", "token"), ("gelu", "relu")


@dataclass(frozen=True)
class Networks:
    """W (networks, token_hidden, tokens), V (networks, channel_hidden, channels) and one state each, x (networks, tokens, channels)."""

    token: Tensor
    channel: Tensor
    x: Tensor


def draw_networks(
    networks: int,
    tokens: int,
    channels: int,
    token_hidden: int,
    channel_hidden: int,
    scale: float = 1.0,
    branches: str = "both",
    device: torch.device | str | None = None,
    seed: int | torch.Generator = 0,
) -> Networks:
    """Independent normal weights, W of variance scale^2 / tokens and V of scale^2 / channels, and standard normal states, in float64.

    branches : "token" leaves the channel memory out, V = 0. With one channel that is a network of ``tokens`` neurons and ``token_hidden`` hidden units.

    Raises TypeError, ValueError : naming the argument, the value found and what is allowed.
    """
    networks, tokens, channels = size("networks", networks), size("tokens", tokens), size("channels", channels)
    hidden = size("token_hidden", token_hidden), size("channel_hidden", channel_hidden)
    scale, stream = number("scale", scale, "positive"), generator(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(networks, *shape, generator=stream, dtype=torch.float64)

    token, channel = normal(hidden[0], tokens) * scale / math.sqrt(tokens), normal(hidden[1], channels) * scale / math.sqrt(channels)
    if choice("branches", branches, ("both", "token")) == "token":
        channel = torch.zeros_like(channel)
    return Networks(token.to(device), channel.to(device), normal(tokens, channels).to(device))


def step_changes(drawn: Networks, step_size: float, leak: bool, activation: str, norm: str, eps: float = 1e-6) -> dict[str, Tensor]:
    """One step of every network: "change", "bound" and "safety" as in ``Descent``, and "scale", the size of the energies; all (networks,).

    Raises TypeError, ValueError : naming the argument, the value found and what is allowed.
    """
    h, joint = number("step_size", step_size, "positive"), choice("norm", norm, _NORMS) == "joint"
    gelu = choice("activation", activation, _ACTIVATIONS) == "gelu"
    f = torch.nn.functional.gelu if gelu else torch.relu
    axes = (1, 2) if joint else (2,)
    count = math.prod(drawn.x.shape[axis] for axis in axes)

    def normalised(x: Tensor) -> tuple[Tensor, Tensor]:
        centred = x - x.mean(axes, keepdim=True)
        rho = (centred.square().mean(axes, keepdim=True) + eps).sqrt()
        return centred / rho, rho

    def energy(g: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
        hidden = sum(_potential(u, gelu).sum((1, 2)) for u in (drawn.token @ g, g @ drawn.channel.mT))
        own = -count * eps * (1 / rho).sum((1, 2)) if leak else 0
        return own - hidden, hidden.abs()

    a = 1 - h if leak else 1.0
    g, rho = normalised(drawn.x)
    drive = drawn.token.mT @ f(drawn.token @ g) + f(g @ drawn.channel.mT) @ drawn.channel
    g_next, rho_next = normalised(a * drawn.x + h * drive)
    (before, first), (after, second) = energy(g, rho), energy(g_next, rho_next)
    moved = (g_next - g).square().sum(axes, keepdim=True)
    work = ((rho_next + a * rho) / (2 * h) * (moved + count * eps * (1 / rho - 1 / rho_next).square())).sum((1, 2))
    norms = torch.linalg.matrix_norm(drawn.token, 2).square() + torch.linalg.matrix_norm(drawn.channel, 2).square()
    stiffness = GELU_CONCAVITY * norms if gelu else torch.zeros_like(norms)
    force = ((rho_next + a * rho) / h).amin((1, 2))
    return {
        "change": after - before,
        "bound": stiffness / 2 * moved.sum((1, 2)) - work,
        "safety": force / stiffness,  # infinite where nothing is concave
        "scale": torch.maximum(first, second) + work.abs(),
    }


def _potential(u: Tensor, gelu: bool) -> Tensor:
    if not gelu:
        return torch.relu(u).square() / 2
    erf = torch.erf(u / math.sqrt(2))
    return (u.square() * (1 + erf) - erf + u * math.sqrt(2 / math.pi) * torch.exp(-u.square() / 2)) / 4
