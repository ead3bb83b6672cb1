"""The patches against scikit-learn's own arrays; where they come from, and what is refused."""

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from hopmix.training import photograph_patches

GREY = [image @ np.array([0.299, 0.587, 0.114]) / 255 for image in load_sample_images().images]


def places(patch, image):
    """All corners (row, column) where the patch lies in the image, by brute force over the places its first pixel allows."""
    side = len(patch)
    rows, columns = np.nonzero(np.isclose(image[: len(image) - side + 1, : image.shape[1] - side + 1], patch[0, 0], rtol=0, atol=1e-12))
    return [(r, c) for r, c in zip(rows, columns) if np.allclose(image[r : r + side, c : c + side], patch, rtol=0, atol=1e-12)]


def test_regions_share_no_pixel():
    train, test = photograph_patches(patch_size=9, train=40, test=30, seed=1)
    assert train.shape == (40, 9, 9) and test.shape == (30, 9, 9) and train.dtype == torch.float64
    border, seen = 480, set()
    for patches, part in ((train, 0), (test, 1)):
        for patch in patches.numpy():
            found = [(k, place) for k, image in enumerate(GREY) for place in places(patch, image)]
            assert found, "every patch lies in a photograph"
            assert all(column + 9 <= border if part == 0 else column >= border for _, (_, column) in found)
            seen |= {(part, k) for k, _ in found}
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}  # both photographs in both parts


def test_photographs_may_be_kept_apart():
    train, test = photograph_patches(patch_size=12, train=15, test=15, split="photographs", seed=2)
    assert all(places(patch, GREY[0]) and not places(patch, GREY[1]) for patch in train.numpy())
    assert all(places(patch, GREY[1]) and not places(patch, GREY[0]) for patch in test.numpy())


def test_patches_have_the_contrast():
    patches, _ = photograph_patches(patch_size=8, train=300, test=1, least_contrast=0.1, seed=0)
    assert patches.flatten(1).std(1, correction=0).min() >= 0.1
    flat, _ = photograph_patches(patch_size=8, train=300, test=1, least_contrast=0, seed=0)
    assert flat.flatten(1).std(1, correction=0).min() < 0.02 and 0 <= flat.min() and flat.max() <= 1


def test_the_seed_decides():
    first, again, other = (photograph_patches(patch_size=6, train=5, test=5, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again)) and not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch_size": 0}, "patch_size must be a positive integer, got 0"),
        ({"patch_size": 161}, "patch_size must be at most 160, the shorter side of a region, got 161"),
        ({"train": 0}, "train must be a positive integer, got 0"),
        ({"test": 1.5}, "test must be a positive integer, got 1.5"),
        ({"split": "left"}, "split must be one of regions, photographs; got 'left'"),
        ({"least_contrast": -1}, "least_contrast must be finite and not negative, got -1"),
        ({"least_contrast": 0.6}, "least_contrast must leave patches to draw, but no patch of size 28 has 0.6"),
    ],
)
def test_errors(options, words):
    with pytest.raises(ValueError, match=words):
        photograph_patches(**options)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'hopmix\[train\]'"):
        photograph_patches()
