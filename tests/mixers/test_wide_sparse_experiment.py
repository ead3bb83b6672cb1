"""The experiment at the smallest scale: every architecture, the same numbers again, and figures of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hopmix.mixers.kronecker import PermutedKronecker, SparseLinear
from hopmix.mixers.wide_sparse import counts, figures
from hopmix.mixers.wide_sparse.experiment import EXPERIMENT, digits_task, keys, largest_singular_value, trial

SMOKE = EXPERIMENT.scales["smoke"]


@pytest.fixture(scope="module")
def result():
    return EXPERIMENT.run("smoke", progress=False)


def test_all_architectures_and_the_same_again(result):
    assert len(result.trials) == len(keys(SMOKE))
    for key, stored in zip(keys(SMOKE), result.trials, strict=True):
        if key[0] in ("permuted", "sparse"):
            np.testing.assert_array_equal(trial(SMOKE, key)["accuracy"], stored["accuracy"])
    assert all(np.isfinite(list(result.summary.values())))


@pytest.mark.parametrize("draw", ["wide_matrices", "aspect", "widths", "similarity", "spectrum"])
def test_figures(result, draw):
    function = getattr(figures, draw)
    assert (function() if draw == "wide_matrices" else function(result)).axes


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_the_shapes_have_nearly_the_same_connections(scale):
    config = EXPERIMENT.scales[scale]
    for shape in config.shapes:
        assert abs(counts(*shape).connections / config.connections - 1) < 0.02
    widest = max(counts(*shape).width for shape in config.shapes)
    assert any(s == c and s * c == widest for s, c in config.shapes)
    side = config.dense_widths[0]
    assert 2 * side**2 == counts(side, side).trainable  # as many trainable numbers as the widest Mixer
    total, fair = counts(side, side).trainable + 10 * side**2, config.dense_widths[1]
    assert abs((2 * fair**2 + 10 * fair) / total - 1) < 0.02  # with the head


def test_splits_do_not_depend_on_the_width_and_do_not_overlap():
    one, other, bare = (digits_task(SMOKE, width) for width in (16, 18, None))
    assert torch.equal(one.labels, other.labels) and torch.equal(one.test_labels, bare.test_labels)
    pixels = torch.cat([bare.x, bare.test_x])[:, 0]
    assert len(pixels.unique(dim=0)) == len(pixels)


def test_the_largest_singular_value_by_lanczos():
    for layer in (SparseLinear(30, 30, 200, dtype=torch.float64, seed=1), PermutedKronecker(5, 6, dtype=torch.float64, seed=2)):
        assert largest_singular_value(layer) == pytest.approx(np.linalg.norm(layer.matrix().toarray(), 2), rel=1e-10)


def test_a_device_that_is_not_there_is_an_error():
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda"):
            trial(replace(SMOKE, device="cuda"), ["sparse", 8])
