"""Landscapes against direct evaluation, projections against least squares, and pictures that show what they should."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

import hopmix.memory.plots as plots
from hopmix.memory import three_layer_memory
from hopmix.memory.plots import energy_landscape, landscape, plane, project, retrieval_strip, trajectories
from hopmix.plotting import figure

SHAPE = (3, 4)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def memory():
    return three_layer_memory(*SHAPE, token_hidden=5, channel_hidden=6, eps=1e-2).requires_grad_(False)


@pytest.fixture(scope="module")
def surface(memory):
    return landscape(memory.energy, draw(0, *SHAPE), draw(1, *SHAPE), draw(2, *SHAPE), extent=((-1, 2), (-0.5, 0.5)), size=7, block=10)


def test_values_are_those_of_one_state_after_the_other(memory, surface):
    for row, b in enumerate(np.linspace(-0.5, 0.5, 7)):
        for column, a in enumerate(np.linspace(-1, 2, 7)):
            state = draw(0, *SHAPE) + a * draw(1, *SHAPE) + b * draw(2, *SHAPE)
            assert float(surface.values[row, column]) == pytest.approx(float(memory.energy(state[None])), rel=1e-12)


def test_blocks_change_nothing_and_the_gradient_is_not_kept(memory, surface):
    whole = landscape(memory.energy, draw(0, *SHAPE), draw(1, *SHAPE), draw(2, *SHAPE), extent=((-1, 2), (-0.5, 0.5)), size=7)
    assert torch.allclose(whole.values, surface.values, rtol=1e-13)
    trained = three_layer_memory(*SHAPE, token_hidden=5, channel_hidden=6)
    assert not landscape(trained.energy, draw(0, *SHAPE), draw(1, *SHAPE), draw(2, *SHAPE), size=3).values.requires_grad


def test_states_of_several_layers():
    slow = three_layer_memory(*SHAPE, token_hidden=5, channel_hidden=6, hidden_time_constant=0.1).requires_grad_(False)
    origin, first, second = ({name: x[k] for name, x in slow.random_state(batch=3).items()} for k in range(3))
    found = landscape(slow.energy, origin, first, second, extent=1.0, size=3)
    corner = {name: (origin[name] - first[name] + second[name])[None] for name in origin}
    assert float(found.values[2, 0]) == pytest.approx(float(slow.energy(corner)), rel=1e-12)
    reordered = dict(reversed(corner.items()))
    torch.testing.assert_close(project(reordered, found.plane), torch.tensor([[-1.0, 1.0]], dtype=torch.float64))


@given(st.integers(0, 10**6))
def test_projection_is_the_nearest_point(seed):
    grid = plane(draw(seed, *SHAPE), draw(seed + 1, *SHAPE), draw(seed + 2, *SHAPE))
    states = draw(seed + 3, 5, 2, *SHAPE)
    basis = torch.stack([grid.first.flatten(), grid.second.flatten()], 1).numpy()
    expected = np.linalg.lstsq(basis, (states - grid.origin).reshape(10, -1).numpy().T, rcond=None)[0].T
    np.testing.assert_allclose(project(states, grid).numpy().reshape(10, 2), expected, rtol=1e-8, atol=1e-10)


def test_projection_of_the_planes_own_states_is_the_grid(surface):
    coordinates = project(surface.plane.states(), surface.plane).reshape(7, 7, 2)
    torch.testing.assert_close(coordinates[0, :, 0], surface.plane.horizontal)
    torch.testing.assert_close(coordinates[:, 3, 1], surface.plane.vertical)


def test_the_landscape_of_a_flow_shows_its_energies_and_its_path(memory, surface):
    _, states = memory.flow(surface.plane.states()[[3, 40]], 1.0, 20)
    picture = energy_landscape(surface, paths=states, marks=[("here", surface.plane.origin)])
    ax, bar = picture.axes
    drawn = [line.get_xydata() for line in ax.lines]
    for path in project(states, surface.plane).numpy().swapaxes(0, 1):
        assert sum(np.array_equal(path, line) for line in drawn) == 2  # a line and its dark edge
    # Colours cover the values: the bar's ends lie around the smallest and the largest.
    assert bar.get_ylim()[0] <= float(surface.values.min()) and float(surface.values.max()) <= bar.get_ylim()[1]
    assert bar.get_ylabel() == "energy" and [word.get_text() for word in ax.texts] == ["here"]
    assert ax.get_xlim() == (-1, 2) and ax.get_ylim() == (-0.5, 0.5)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_brighter_is_higher():
    """The picture of a slope: the pixels grow brighter to the right, whatever the direction they are drawn in."""
    one, two = torch.eye(2, dtype=torch.float64)
    picture = energy_landscape(landscape(lambda x: x[:, 0], 0 * one, one, two, extent=1.0, size=9))
    stream = BytesIO()
    picture.savefig(stream, format="png", dpi=picture.dpi)
    stream.seek(0)
    pixels = imread(stream, format="png")[..., :3].mean(2)
    ax = picture.axes[0]
    row, columns = pixels.shape[0] - ax.transData.transform((0, 0))[1], [ax.transData.transform((a, 0))[0] for a in (-0.9, 0.02, 0.9)]
    left, middle, right = (pixels[int(row) - 3 : int(row) + 3, int(column) - 2 : int(column) + 3].mean() for column in columns)
    assert left < middle < right


def test_landscapes_on_given_axes(surface):
    picture, axes = figure(rows=2)
    assert energy_landscape(surface, ax=axes[1, 0]) is picture
    assert not axes[0, 0].collections and axes[1, 0].collections


def test_the_strip_shows_the_images_on_one_scale():
    images = draw(4, 2, 3, 5, 5)
    picture = retrieval_strip(images, titles=("noisy", "restored", "clean"), rows=("a", "b"))
    assert len(picture.axes) == 6 and [ax.get_title() for ax in picture.axes[:3]] == ["noisy", "restored", "clean"]
    for place, ax in enumerate(picture.axes):
        (shown,) = ax.images
        assert np.array_equal(shown.get_array(), images[divmod(place, 3)].numpy())
        assert shown.get_clim() == (float(images.min()), float(images.max()))
    assert [ax.get_ylabel() for ax in picture.axes[::3]] == ["a", "b"]
    limited = retrieval_strip(images, limits=(0.0, 1.0))
    assert limited.axes[0].images[0].get_clim() == (0, 1) and limited._repr_png_().startswith(b"\x89PNG")


def test_missing_pixels_are_blue_and_outside_the_scale():
    images = draw(5, 1, 2, 4, 4)
    images[0, 1, 2:] = float("nan")
    picture = retrieval_strip(images, rows=("half",))
    whole, half = (ax.images[0] for ax in picture.axes)
    assert half.get_clim() == whole.get_clim() == (float(images.nan_to_num(0).min()), float(images.nan_to_num(0).max()))
    red, green, blue, _ = half.to_rgba(half.get_array())[2:].reshape(-1, 4).T
    assert (blue > red + 0.2).all() and (blue > green).all()
    seen = np.concatenate([whole.to_rgba(whole.get_array()).reshape(-1, 4), half.to_rgba(half.get_array())[:2].reshape(-1, 4)])
    assert np.ptp(seen[:, :3], axis=1).max() == 0  # what is known is grey
    assert picture._repr_png_().startswith(b"\x89PNG")


ONE, TWO = torch.eye(2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plane(ONE, TWO, 2 * TWO), ValueError, "first and second must span a plane"),
        (lambda: plane(ONE, 0 * TWO, TWO), ValueError, "first and second must span a plane"),
        (lambda: plane(ONE, torch.ones(3, dtype=torch.float64), TWO), ValueError, r"first must have the layers and shapes of origin, \(2,\), got \(3,\)"),
        (lambda: plane(ONE, {"a": TWO}, TWO), ValueError, r"first must have the layers and shapes of origin"),
        (lambda: plane([1.0, 0.0], ONE, TWO), TypeError, "origin must be a torch.Tensor or a dict of them, got list"),
        (lambda: plane(ONE, torch.tensor([0, 1]), TWO), TypeError, "first must be floating-point torch.Tensors, got dtype torch.int64"),
        (lambda: plane(ONE, ONE, TWO * float("nan")), ValueError, "second has entries that are not finite"),
        (lambda: plane(0 * ONE, ONE, TWO, extent=-1), ValueError, "extent must be positive and finite, got -1"),
        (lambda: plane(0 * ONE, ONE, TWO, extent=(1, 2)), ValueError, "extent must be a number or two pairs"),
        (lambda: plane(0 * ONE, ONE, TWO, extent=((1, 0), (0, 1))), ValueError, "extent must have lowest < highest in both pairs"),
        (lambda: plane(0 * ONE, ONE, TWO, size=1), ValueError, "size must be an integer from 2 on, got 1"),
        (lambda: landscape(torch.norm, 0 * ONE, ONE, TWO, size=3), ValueError, r"function must return a tensor of shape \(9,\)"),
        (lambda: landscape(lambda x: x[:, 0].log(), 0 * ONE, ONE, TWO, size=3), FloatingPointError, "function is not finite at 6 of 9 states"),
        (lambda: landscape(lambda x: x[:, 0], 0 * ONE, ONE, TWO, block=0), ValueError, "block must be a positive integer, got 0"),
        (lambda: project(ONE, ONE), TypeError, "plane must be a Plane, got Tensor"),
        (lambda: project(torch.ones(3, dtype=torch.float64), plane(0 * ONE, ONE, TWO)), ValueError, r"states must end in the plane's shape \(2,\), got \(3,\)"),
        (lambda: project({"a": ONE}, plane(0 * ONE, ONE, TWO)), ValueError, "states must have the layers of the plane"),
        (lambda: energy_landscape(ONE), TypeError, "landscape must be a Landscape"),
        (lambda: trajectories(figure()[1][0, 0], ONE), ValueError, r"coordinates must be \(steps \+ 1, batch, 2\), got shape \(2,\)"),
        (lambda: retrieval_strip(ONE), ValueError, r"images must be \(samples, steps, height, width\), got shape \(2,\)"),
        (lambda: retrieval_strip(torch.ones(1, 2, 3, 3), titles=("a",)), ValueError, "titles must be 2 words or none, got 1"),
        (lambda: retrieval_strip(torch.full((1, 1, 2, 2), float("nan"))), ValueError, "images must be finite, or NaN for a missing pixel"),
        (lambda: retrieval_strip(torch.full((1, 1, 2, 2), float("inf"))), ValueError, "images must be finite, or NaN for a missing pixel"),
        (lambda: retrieval_strip(torch.ones(1, 1, 2, 2), limits=(1, 0)), ValueError, r"limits must be \(black, white\) with black < white, got \(1, 0\)"),
        (lambda: retrieval_strip(torch.ones(1, 1, 2, 2), limits=3), ValueError, r"limits must be \(black, white\) with black < white, got 3"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_drawing_is_loaded_when_asked_for():
    code = (
        "import sys, hopmix.memory.plots as plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert plots.retrieval_strip and 'matplotlib' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(plots.__all__) <= set(dir(plots))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        plots.nothing
