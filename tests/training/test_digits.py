"""The digits against scikit-learn's own arrays; the embedding's geometry."""

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hopmix.training import digit_patches, patch_embed


@pytest.mark.parametrize("patch_size", [1, 2, 4, 8])
def test_patches_are_slices_of_the_images(patch_size):
    patches, labels = digit_patches(patch_size)
    digits, grid = load_digits(), 8 // patch_size
    assert patches.shape == (1797, grid**2, patch_size**2) and patches.dtype == torch.float64
    assert labels.dtype == torch.int64 and np.array_equal(labels.numpy(), digits.target)
    assert float(patches.min()) == 0 and float(patches.max()) == 1
    for token in range(grid**2):
        row, column = divmod(token, grid)
        window = digits.images[:, row * patch_size : (row + 1) * patch_size, column * patch_size : (column + 1) * patch_size]
        assert np.array_equal(16 * patches[:, token].numpy(), window.reshape(1797, -1))


def test_embedding_in_more_channels_keeps_all_inner_products():
    patches, _ = digit_patches(2)
    embedded = patch_embed(patches[:100], channels=32, seed=1)
    assert embedded.shape == (100, 16, 32)
    torch.testing.assert_close(embedded @ embedded.mT, patches[:100] @ patches[:100].mT, rtol=1e-12, atol=1e-13)
    assert torch.equal(embedded, patch_embed(patches[:100], channels=32, seed=1))
    assert not torch.allclose(embedded, patch_embed(patches[:100], channels=32, seed=2))


def test_embedding_in_fewer_channels_is_a_projection():
    identity = torch.eye(16, dtype=torch.float64)[None]
    matrix = patch_embed(identity, channels=5, seed=3)[0]
    torch.testing.assert_close(matrix.mT @ matrix, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-14)


def test_embedding_is_isotropic():
    identity = torch.eye(2, dtype=torch.float64)[None]
    entries = np.array([float(patch_embed(identity, channels=2, seed=seed)[0, 0, 0]) for seed in range(800)])
    # A uniformly distributed unit vector of the plane: mean 0, variance 1/2.
    assert abs(entries.mean()) < 4 * np.sqrt(0.5 / 800)
    assert abs((entries**2).mean() - 0.5) < 4 * np.sqrt(0.125 / 800)


def test_float32_patches_stay_float32():
    patches, _ = digit_patches(4)
    assert patch_embed(patches.float(), channels=3).dtype == torch.float32


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: digit_patches(3), r"patch_size must divide the image side 8 \(1, 2, 4 or 8\), got 3"),
        (lambda: digit_patches(0), "patch_size must be a positive integer, got 0"),
        (lambda: digit_patches(2.0), "patch_size must be a positive integer, got 2.0"),
        (lambda: patch_embed(torch.ones(2, 3), 4), r"patches must be floating point \(batch, tokens, pixels\), got torch.float32 \(2, 3\)"),
        (lambda: patch_embed(torch.ones(2, 3, 4), 0), "channels must be a positive integer, got 0"),
        (lambda: digit_patches(True), "patch_size must be a positive integer, got True"),
        (lambda: patch_embed(torch.ones(2, 3, 4), 2.5), "channels must be a positive integer, got 2.5"),
        (lambda: patch_embed(torch.ones(2, 3, 4), True), "channels must be a positive integer, got True"),
        (lambda: patch_embed(torch.ones(2, 3, 0), 2), r"patches must have at least one pixel each, got shape \(2, 3, 0\)"),
        (lambda: patch_embed(torch.full((2, 3, 4), float("nan")), 2), "patches has entries that are not finite"),
        (lambda: patch_embed(torch.ones(2, 3, 4), 2, seed=2**64), r"seed must lie between -2\*\*63 and 2\*\*64 - 1"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("seed", [None, "a", 1.5, True])
def test_a_seed_that_is_none(seed):
    with pytest.raises(TypeError, match=f"seed must be an integer or a torch.Generator, got {seed!r}"):
        patch_embed(torch.ones(2, 3, 4), 2, seed)


def test_patches_that_are_no_tensor():
    with pytest.raises(TypeError, match="patches must be a torch.Tensor, got ndarray"):
        patch_embed(np.ones((2, 3, 4)), 2)


def test_numpys_integers_are_accepted():
    patches, _ = digit_patches(np.int64(4))
    assert patches.shape == (1797, 4, 16)
    assert torch.equal(patch_embed(patches[:2], np.int32(3), np.int64(5)), patch_embed(patches[:2], 3, 5))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'hopmix\[train\]'"):
        digit_patches()
