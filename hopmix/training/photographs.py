"""Grey patches of the two photographs that scikit-learn ships: the book's larger real images."""

import torch
from torch import Tensor

from hopmix.arguments import choice, generator, number, size

_SPLITS = ("regions", "photographs")
# ITU-R BT.601: how bright red, green and blue look.
_LUMINANCE = (0.299, 0.587, 0.114)


def photograph_patches(
    patch_size: int = 28,
    train: int = 2000,
    test: int = 500,
    split: str = "regions",
    least_contrast: float = 0.05,
    seed: int | torch.Generator = 0,
) -> tuple[Tensor, Tensor]:
    """Square grey patches from random places, for training and for testing; no pixel occurs in both.

    Parameters
    ----------
    train, test : how many patches of each; they are drawn independently, so patches of one set may overlap.
    split : "regions" trains on the left three quarters of both photographs (a temple in China, a flower) and tests on the rest;
        "photographs" trains on the temple and tests on the flower.
    least_contrast : patches whose grey levels have a smaller standard deviation, such as sky, are drawn again.

    Returns
    -------
    Two tensors (train, patch_size, patch_size) and (test, patch_size, patch_size), float64 in [0, 1].

    Raises
    ------
    ImportError : scikit-learn, which ships the photographs, or Pillow, which reads them, is not installed.
    TypeError, ValueError : naming the argument, the value found and what is allowed; also where no patch has the contrast.
    """
    side = size("patch_size", patch_size)
    counts = size("train", train), size("test", test)
    split, least, stream = choice("split", split, _SPLITS), number("least_contrast", least_contrast, "zero"), generator(seed)
    temple, flower = _photographs()
    if split == "photographs":
        regions = ([temple], [flower])
    else:
        border = temple.shape[1] * 3 // 4
        regions = ([temple[:, :border], flower[:, :border]], [temple[:, border:], flower[:, border:]])
    smallest = min(min(region.shape) for part in regions for region in part)
    if side > smallest:
        raise ValueError(f"patch_size must be at most {smallest}, the shorter side of a region, got {patch_size!r}")
    trained, tested = (_draw(part, side, count, least, stream) for part, count in zip(regions, counts, strict=True))
    return trained, tested


def _photographs() -> tuple[Tensor, Tensor]:
    """Both in grey, (height, width) each."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise ImportError("the photographs come with scikit-learn: install it with  pip install 'hopmix[train]'") from error
    weights = torch.tensor(_LUMINANCE, dtype=torch.float64)
    temple, flower = (torch.tensor(image, dtype=torch.float64) / 255 @ weights for image in load_sample_images().images)
    return temple, flower


def _draw(regions: list[Tensor], side: int, count: int, least: float, stream: torch.Generator) -> Tensor:
    """``count`` patches, each from a region chosen evenly and a place chosen evenly in it, among those with the contrast."""
    windows = [region.unfold(0, side, 1).unfold(1, side, 1) for region in regions]  # (rows, columns, side, side), without a copy
    places = []
    for region in regions:
        # Mean and mean square of every window by box sums, so that no window is written out.
        sums = [_box(values, side) / side**2 for values in (region, region.square())]
        places.append(((sums[1] - sums[0].square()).clamp_min(0).sqrt() >= least).nonzero())
        if not len(places[-1]):
            raise ValueError(f"least_contrast must leave patches to draw, but no patch of size {side} has {least:g} in one of the regions")
    chosen = torch.randint(len(regions), (count,), generator=stream)
    drawn = torch.rand(count, generator=stream, dtype=torch.float64)
    patches = torch.empty(count, side, side, dtype=torch.float64)
    for k, (window, place) in enumerate(zip(windows, places, strict=True)):
        here = chosen == k
        row, column = place[(drawn[here] * len(place)).long()].T
        patches[here] = window[row, column]
    return patches


def _box(values: Tensor, side: int) -> Tensor:
    """Sums over all windows: (height, width) gives (height - side + 1, width - side + 1)."""
    total = torch.nn.functional.pad(values.cumsum(0).cumsum(1), (1, 0, 1, 0))
    return total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
