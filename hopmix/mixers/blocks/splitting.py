"""Parallel and serial blocks as two ways to take a step along the sum of two fields (page: book/mixers/blocks.md)."""

from collections.abc import Callable

import torch
from torch import Tensor

from hopmix.arguments import choice, number
from hopmix.mixers.blocks.block import MixerBlock

_FIRST = ("token", "channel")


def parallel_step(block: MixerBlock, x: Tensor, step: float = 1.0) -> Tensor:
    """x + step (F(x) + G(x)), F and G the block's token and channel branch with their norms.

    At step 1 this is a parallel block's own output. Shape: (batch, tokens, channels) to the same.

    Raises
    ------
    ValueError, TypeError : step is no finite number, or what the block refuses.
    """
    step = number("step", step)
    return x + step * (block.token_branch(x) + block.channel_branch(x))


def serial_step(block: MixerBlock, x: Tensor, step: float = 1.0, first: str = "token") -> Tensor:
    """y + step G(y) with y = x + step F(x), or the other way round with first="channel".

    At step 1, tokens first, this is a serial block's own output. Shape and errors as for ``parallel_step``.
    """
    step = number("step", step)
    one, other = _branches(block, first)
    y = x + step * one(x)
    return y + step * other(y)


def splitting_term(block: MixerBlock, x: Tensor, first: str = "token") -> Tensor:
    """DG(x) F(x), by automatic differentiation: serial less parallel step is step^2 times this, to leading order.

    With first="channel" DF(x) G(x). Shape and errors as for ``parallel_step``.
    """
    one, other = _branches(block, first)
    return torch.autograd.functional.jvp(other, x, one(x))[1]


def _branches(block: MixerBlock, first: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    pair = block.token_branch, block.channel_branch
    return pair if choice("first", first, _FIRST) == "token" else pair[::-1]
