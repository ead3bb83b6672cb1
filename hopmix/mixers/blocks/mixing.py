"""One branch of a Mixer block: an MLP over one axis, in five kinds of weights (page: book/mixers/blocks.md)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix import arguments
from hopmix.arguments import available_device, check_like, choice, floating_dtype, generator
from hopmix.mixers.blocks.initial import constant, xavier_uniform

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}
WEIGHTS = ("free", "symmetric", "asymmetric", "signed", "negative")


class Mixing(torch.nn.Module):
    """g -> O^T f(W g), for each vector g along the last axis. W and O are (hidden, size), and O is

        free        a matrix of its own
        symmetric   W
        asymmetric  W + D, with a breaking term D of its own
        signed      diag(s) W, with s = 1 for the first half of the hidden units (the larger, if odd), -1 for the others
        negative    -W

    All but "free" and "asymmetric" are gradients in g: of sum_h s_h Phi((W g)_h), where Phi' = f and s is the sign.

    Parameters
    ----------
    size : length of the last axis.
    hidden : number of hidden units.
    activation : "gelu" (error-function form), "relu", "tanh" or "identity".
    bias : adds biases, one per hidden unit before f and one per output; they start at 0.
    seed : W, O and D are Xavier-uniform.

    Shape: (..., size) to the same. Source: karakida2024hierarchical for "symmetric" and "asymmetric"; the controls
    "signed" and "negative" are this book's.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        size: int,
        hidden: int,
        activation: str = "gelu",
        weights: str = "free",
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        self.size, self.hidden = arguments.size("size", size), arguments.size("hidden", hidden)
        self.activation, self.weights = choice("activation", activation, ACTIVATIONS), choice("weights", weights, WEIGHTS)
        if not isinstance(bias, bool):
            raise TypeError(f"bias must be True or False, got {bias!r}")
        device, dtype, stream = available_device(device), floating_dtype(dtype, torch.get_default_dtype()), generator(seed)
        self.inward = xavier_uniform(self.hidden, self.size, stream, device, dtype)
        outward = breaking = signs = None
        if weights == "free":
            outward = xavier_uniform(self.hidden, self.size, stream, device, dtype)
        elif weights == "asymmetric":
            breaking = xavier_uniform(self.hidden, self.size, stream, device, dtype)
        elif weights in ("signed", "negative"):
            signs = torch.ones(self.hidden, device=device, dtype=dtype)
            signs[self.hidden - self.hidden // 2 if weights == "signed" else 0 :] = -1
        self.register_parameter("outward", outward)
        self.register_parameter("breaking", breaking)
        # Fixed by `weights`, so no part of what is saved.
        self.register_buffer("signs", signs, persistent=False)
        self.register_parameter("hidden_bias", constant(0.0, self.hidden, device=device, dtype=dtype) if bias else None)
        self.register_parameter("bias", constant(0.0, self.size, device=device, dtype=dtype) if bias else None)

    def forward(self, g: Tensor) -> Tensor:
        if not isinstance(g, Tensor):
            raise TypeError(f"g must be a torch.Tensor, got {type(g).__name__}")
        if g.dim() < 1 or g.shape[-1] != self.size:
            raise ValueError(f"g must have shape (..., {self.size}), got {tuple(g.shape)}")
        check_like("g", g, self.inward)
        hidden = ACTIVATIONS[self.activation](F.linear(g, self.inward, self.hidden_bias))
        if self.signs is not None:
            hidden = hidden * self.signs
        out = self.inward
        if self.outward is not None:
            out = self.outward
        elif self.breaking is not None:
            out = out + self.breaking
        return F.linear(hidden, out.mT, self.bias)

    def departure(self) -> Tensor:
        """O less what tied weights would be, (hidden, size): D for "asymmetric", O - W for "free", zeros else."""
        if self.breaking is not None:
            return self.breaking
        if self.outward is not None:
            return self.outward - self.inward
        return torch.zeros_like(self.inward)

    def extra_repr(self) -> str:
        bias = ", bias=True" if self.bias is not None else ""
        return f"{self.size}, {self.hidden}, activation={self.activation!r}, weights={self.weights!r}{bias}"
