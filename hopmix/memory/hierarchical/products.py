"""Products of activations with a weight, by whichever of torch's libraries is faster (page: book/memory/hierarchical.md)."""

import torch
from torch import Tensor

LEAST = 2**23
"""Multiplications from which on a float32 product on the CPU is worth oneDNN's rearranging of the weight."""


def times_transposed(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T: x (..., k) and weight (n, k) give (..., n)."""
    if _by_onednn(x, weight):
        return _rows(torch.nn.functional.conv2d(_image(x), weight[:, :, None, None], dilation=2), x)
    return torch.nn.functional.linear(x, weight)


def times(x: Tensor, weight: Tensor) -> Tensor:
    """x W: x (..., n) and weight (n, k) give (..., k)."""
    if _by_onednn(x, weight):
        return _rows(torch.nn.functional.conv_transpose2d(_image(x), weight[:, :, None, None], dilation=2), x)
    return torch.nn.functional.linear(x, weight.mT)


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether the product is taken as a convolution of one pixel.

    torch's float32 products go to MKL, which on processors of other makers leaves half of their arithmetic unused; its
    convolutions go to oneDNN, which does not. The choice depends on types and sizes alone, so that equal runs round equally.
    """
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.shape[:-1].numel() * weight.numel() >= LEAST
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
    )


def _image(x: Tensor) -> Tensor:
    """The rows of x as the pixels of one image, (1, entries of a row, rows, 1), without a copy if x is contiguous.

    The dilation in the callers changes nothing for one pixel: it is what keeps torch from its own slower loop on one thread.
    """
    return x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)


def _rows(image: Tensor, x: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(*x.shape[:-1], image.shape[1])
