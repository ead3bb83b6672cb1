"""A small Mixer whose blocks are steps of a memory, and its training on digits (page: book/memory/descent.md)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.arguments import check_batch, choice, generator, size
from hopmix.mixers import ParallelMixerBlock
from hopmix.training.loop import train


class TiedMixer(torch.nn.Module):
    """Embedding, a stack of parallel blocks with tied weights and joint LayerNorm, and a linear head on the mean token.

    Parameters
    ----------
    sharing : "all": one block, applied ``depth`` times, so that all depths share one energy; "none": each depth has weights, and an
        energy, of its own.
    activation, weights : as in ``ParallelMixerBlock``; "symmetric" weights are what makes a block a step of a memory.

    Shape: (batch, tokens, pixels) to (batch, classes).

    Raises TypeError, ValueError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        tokens: int,
        pixels: int,
        channels: int,
        token_hidden: int,
        channel_hidden: int,
        depth: int,
        classes: int = 10,
        activation: str = "gelu",
        sharing: str = "all",
        weights: str = "symmetric",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        pixels, self.depth, classes = size("pixels", pixels), size("depth", depth), size("classes", classes)
        shared, stream = choice("sharing", sharing, ("all", "none")) == "all", generator(seed)
        self.blocks = torch.nn.ModuleList(
            ParallelMixerBlock(tokens, channels, token_hidden, channel_hidden, activation, weights=weights, device=device, dtype=dtype, seed=stream)
            for _ in range(1 if shared else self.depth)
        )
        like = self.blocks[0].token_in

        def weight(rows: int, columns: int) -> torch.nn.Parameter:
            drawn = torch.randn(rows, columns, generator=stream, dtype=torch.float64) / columns**0.5
            return torch.nn.Parameter(drawn.to(like))

        self.embed, self.head = weight(channels, pixels), weight(classes, channels)
        self.head_bias = torch.nn.Parameter(torch.zeros(classes, device=like.device, dtype=like.dtype))

    def block(self, depth: int) -> ParallelMixerBlock:
        """The block at that depth, counted from 0."""
        if (depth := size("depth", depth, least=0)) >= self.depth:
            raise ValueError(f"depth must be from 0 to {self.depth - 1}, got {depth}")
        return self.blocks[depth % len(self.blocks)]

    def states(self, patches: Tensor) -> list[Tensor]:
        """The state before each block and after the last: depth + 1 tensors (batch, tokens, channels)."""
        check_batch("patches", patches, (self.blocks[0].tokens, self.embed.shape[1]), self.embed)
        visited = [F.linear(patches, self.embed)]
        for depth in range(self.depth):
            visited.append(self.block(depth)(visited[-1]))
        return visited

    def forward(self, patches: Tensor) -> Tensor:
        x = self.states(patches)[-1]
        return F.linear(F.layer_norm(x, x.shape[1:]).mean(1), self.head, self.head_bias)


def fit(model: TiedMixer, patches: Tensor, labels: Tensor, *, epochs: int, batch_size: int, learning_rate: float, seed: int) -> list[float]:
    """Train on the cross-entropy with label smoothing 0.1; returns the loss of each epoch."""

    def loss(x: Tensor, y: Tensor, stream: torch.Generator) -> Tensor:
        return F.cross_entropy(model(x), y, label_smoothing=0.1)

    return train(
        model.parameters(), loss, (patches, labels), epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, weight_decay=0.05, seed=seed
    )


@torch.no_grad()
def accuracy(model: TiedMixer, patches: Tensor, labels: Tensor) -> float:
    """Share of the patches' labels that the largest output names."""
    return float((model(patches).argmax(1) == labels).double().mean())
