"""The Mixer: patches, blocks, mean over tokens, classes (page: book/mixers/blocks.md)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hopmix.arguments import available_device, check_batch, floating_dtype, generator, number, size
from hopmix.mixers.blocks.block import MixerBlock
from hopmix.mixers.blocks.drop_path import draw_paths
from hopmix.mixers.blocks.initial import constant, lecun_normal
from hopmix.mixers.blocks.norm import Norm


class PatchEmbedding(torch.nn.Module):
    """Each patch times one matrix: (batch, in_channels, height, width) to (batch, tokens, dim), tokens row by row."""

    def __init__(
        self,
        image_size: int | tuple[int, int],
        patch_size: int,
        in_channels: int,
        dim: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        self.image_size, self.patch_size = _pair("image_size", image_size), size("patch_size", patch_size)
        self.in_channels = size("in_channels", in_channels)
        if any(side % self.patch_size for side in self.image_size):
            raise ValueError(f"patch_size must divide the image's sides {self.image_size}, got {patch_size!r}")
        self.tokens = (self.image_size[0] // self.patch_size) * (self.image_size[1] // self.patch_size)
        device, dtype = available_device(device), floating_dtype(dtype, torch.get_default_dtype())
        shape = (size("dim", dim), self.in_channels, self.patch_size, self.patch_size)
        self.weight = lecun_normal(*shape, stream=generator(seed), device=device, dtype=dtype)
        self.bias = constant(0.0, dim, device=device, dtype=dtype)

    def check(self, images: Tensor) -> None:
        """Raises ValueError, TypeError for what is no tensor (batch, in_channels, height, width) like the weights."""
        check_batch("images", images, (self.in_channels, *self.image_size), self.weight)

    def forward(self, images: Tensor) -> Tensor:
        self.check(images)
        patches = F.conv2d(images, self.weight, self.bias, stride=self.patch_size)  # (batch, dim, rows, columns)
        return patches.flatten(2).mT  # (batch, tokens, dim)

    def extra_repr(self) -> str:
        return f"{self.image_size}, {self.patch_size}, {self.in_channels}, {self.weight.shape[0]}"


class Mixer(torch.nn.Module):
    """A Mixer for images: patch embedding, ``depth`` blocks, LayerNorm of each token, mean over tokens, linear head.

        vanilla            order="serial",   weights="free"
        ParaMixer          order="parallel", weights="free"
        SymMixer           order="parallel", weights="symmetric"
        AsymMixer          order="parallel", weights="asymmetric", trained with ``symmetry_penalty``
        controls           order="parallel", weights="signed" or "negative"
        original Mixer     order="serial",   weights="free", norm="token", bias=True

    Parameters
    ----------
    image_size : side of a square image, or (height, width); patch_size divides both.
    mlp_ratio : hidden units of the token and of the channel branch, both as a multiple of ``dim``.
    hidden_ratio : multiplies both numbers of hidden units; 2 gives symmetric weights as many parameters as free ones.
    order, weights, norm, gain, n_iter, bias, activation, eps : as in ``MixerBlock``. The last norm is always per token
        with elementwise gain.
    drop_path : in training mode, the probability with which a branch of a block is left out for one sample. Every branch
        of every block (and turn) is drawn on its own.
    seed : Xavier-uniform branches, LeCun-normal patch embedding, head at 0.

    Shape: images (batch, in_channels, height, width) to (batch, num_classes). Sources: tolstikhin2021mlp,
    karakida2024hierarchical.

    Raises
    ------
    ValueError, TypeError : naming the argument, the value found and what is allowed.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int],
        patch_size: int,
        in_channels: int,
        num_classes: int,
        depth: int,
        dim: int,
        mlp_ratio: Sequence[float] = (0.5, 4.0),
        order: str = "parallel",
        weights: str = "free",
        norm: str = "joint",
        gain: str = "elementwise",
        hidden_ratio: float = 1,
        n_iter: int = 1,
        bias: bool = False,
        drop_path: float = 0.0,
        activation: str = "gelu",
        eps: float = 1e-6,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        seed: int | torch.Generator = 0,
    ):
        super().__init__()
        self.dim, self.num_classes = size("dim", dim), size("num_classes", num_classes)
        token_hidden, channel_hidden = _hidden(self.dim, mlp_ratio, hidden_ratio)
        self.drop_path = number("drop_path", drop_path, "zero")
        if self.drop_path >= 1:
            raise ValueError(f"drop_path must be at least 0 and less than 1, got {drop_path!r}")
        device, dtype, stream = available_device(device), floating_dtype(dtype, torch.get_default_dtype()), generator(seed)
        self.stem = PatchEmbedding(image_size, patch_size, in_channels, self.dim, device, dtype, stream)
        block = (self.stem.tokens, self.dim, token_hidden, channel_hidden, activation, order, weights, norm, gain, n_iter, bias, eps)
        self.blocks = torch.nn.ModuleList(MixerBlock(*block, device, dtype, stream) for _ in range(size("depth", depth)))
        self.norm = Norm(self.stem.tokens, self.dim, "token", "elementwise", eps, device, dtype)
        self.head_weight = constant(0.0, self.num_classes, self.dim, device=device, dtype=dtype)
        self.head_bias = constant(0.0, self.num_classes, device=device, dtype=dtype)

    def forward(self, images: Tensor, stream: torch.Generator | None = None) -> Tensor:
        """Class scores; stream : what drop_path draws from, needed in training mode if drop_path > 0."""
        # Drawn before anything is computed: torch.compile breaks its graph where a generator draws, and here it has none yet.
        paths = self._paths(images, stream)
        return F.linear(self._features(images, paths), self.head_weight, self.head_bias)

    def features(self, images: Tensor, stream: torch.Generator | None = None) -> Tensor:
        """What the head reads, the mean over normalised tokens: (batch, in_channels, height, width) to (batch, dim)."""
        return self._features(images, self._paths(images, stream))

    def _features(self, images: Tensor, paths: Tensor | None) -> Tensor:
        x = self.stem(images)
        for position, block in enumerate(self.blocks):
            x = block(x, None if paths is None else paths[position])
        return self.norm(x).mean(1)

    def embed(self, images: Tensor) -> Tensor:
        """What the first block reads: (batch, in_channels, height, width) to (batch, tokens, dim)."""
        return self.stem(images)

    def symmetry_penalty(self) -> Tensor:
        """Sum over all blocks and branches of the squared entries by which output weights depart from tied ones.

        Those of the breaking term for "asymmetric", which is what karakida2024hierarchical's code adds to its loss, times
        a coefficient; those of O - W for "free"; 0 for the others. A sum, so its scale grows with width and depth.
        """
        return torch.stack([block.symmetry_penalty() for block in self.blocks]).sum()

    def _paths(self, images: Tensor, stream: torch.Generator | None) -> Tensor | None:
        if not self.training or self.drop_path == 0:
            return None
        if not isinstance(stream, torch.Generator):
            raise TypeError(f"stream must be a torch.Generator in training mode with drop_path > 0, got {stream!r}")
        self.stem.check(images)
        shape = (len(self.blocks), self.blocks[0].n_iter, 2, len(images))
        return draw_paths(shape, self.drop_path, generator(stream), self.head_bias.device, self.head_bias.dtype)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, drop_path={self.drop_path:g}"


def _pair(name: str, value: object) -> tuple[int, int]:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be a size or a pair of them, got {value!r}")
        return size(name, value[0]), size(name, value[1])
    return size(name, value), size(name, value)


def _hidden(dim: int, mlp_ratio: Sequence[float], hidden_ratio: float) -> list[int]:
    if not isinstance(mlp_ratio, (tuple, list)) or len(mlp_ratio) != 2:
        raise ValueError(f"mlp_ratio must be a pair of numbers, for tokens and channels, got {mlp_ratio!r}")
    ratios, factor = [number("mlp_ratio", ratio, "positive") for ratio in mlp_ratio], number("hidden_ratio", hidden_ratio, "positive")
    hidden = [int(int(ratio * dim) * factor) for ratio in ratios]
    if min(hidden) < 1:
        raise ValueError(f"mlp_ratio and hidden_ratio must leave hidden units, got {mlp_ratio!r} and {hidden_ratio!r} at dim {dim}")
    return hidden
