"""The figure style: no global state, deterministic files, statistics as stated."""

import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from hopmix.plotting import COLOURS, PALETTE, band, figure, points, standard_error, styled


@styled
def draw():
    picture, axes = figure()
    rng = np.random.default_rng(0)
    curves = rng.normal(size=(5, 4)) + np.arange(4)
    band(axes[0, 0], range(4), curves, COLOURS["theory"], "theory")
    points(axes[0, 0], range(4), curves, COLOURS["memory"], "simulation")
    return picture


def file(picture, **options):
    stream = io.BytesIO()
    picture.savefig(stream, **options)
    return stream.getvalue()


def test_global_settings_are_untouched():
    before = dict(mpl.rcParams)
    picture = draw()
    picture._repr_png_()
    assert dict(mpl.rcParams) == before


def test_the_same_figure_gives_the_same_file():
    assert draw()._repr_png_() == draw()._repr_png_()
    first, second = (file(draw(), format="svg", metadata={"Date": None}) for _ in range(2))
    assert first == second
    assert draw()._repr_png_().startswith(b"\x89PNG")


def test_a_style_holds_inside_the_decorated_function_only():
    inside = styled(lambda: mpl.rcParams["font.size"])()
    assert inside == 13 != mpl.rcParams["font.size"]


@pytest.mark.parametrize("seeds", [1, 2, 50])
def test_standard_error_is_that_of_the_mean(seeds):
    curves = np.random.default_rng(1).normal(size=(seeds, 3))
    expected = np.zeros(3) if seeds == 1 else [np.sqrt(sum((c - c.mean()) ** 2) / (seeds - 1) / seeds) for c in curves.T]
    assert np.allclose(standard_error(curves), expected, rtol=1e-12)


def test_points_and_band_show_mean_and_error():
    picture, axes = figure()
    curves = np.array([[1.0, 2.0], [3.0, 6.0]])
    points(axes[0, 0], [0, 1], curves, "black", "p")
    band(axes[0, 0], [0, 1], curves, "black", "b")
    markers, line = axes[0, 0].lines[0], axes[0, 0].lines[-1]
    assert markers.get_ydata().tolist() == line.get_ydata().tolist() == [2.0, 4.0]
    (filled,) = [c for c in axes[0, 0].collections if len(c.get_paths()) and c.get_paths()[0].vertices.shape[0] > 4]
    assert np.isclose(filled.get_paths()[0].vertices[:, 1].max(), 6.0)


def test_colours_can_be_told_apart():
    """By lightness or hue: no two colours of the palette are closer than a quarter of the unit cube's side."""
    for a, b in combinations(PALETTE.values(), 2):
        assert np.linalg.norm(np.subtract(to_rgb(a), to_rgb(b))) > 0.25
    assert set(COLOURS.values()) <= set(PALETTE.values())


@pytest.mark.parametrize("draw_curves", [band, points])
@pytest.mark.parametrize(
    ("x", "curves", "words"),
    [
        ([0, 1], [], "found none, and 2 points x"),
        ([], [[], []], "found 2 of length 0, and 0 points x"),
        ([0, 1], [[1, 2, 3]], "found 1 of length 3, and 2 points x"),
        ([0, 1], [[1, 2], [1, 2, 3]], "found 2 of length 2, 3, and 2 points x"),
        ([0, 1], [1, 2], "found 2 of length 1, and 2 points x"),
    ],
)
def test_curves_that_do_not_fit_x_are_named(draw_curves, x, curves, words):
    _, axes = figure()
    with pytest.raises(ValueError, match=f"curves: {words}; allowed: one or more curves as long as x"):
        draw_curves(axes[0, 0], x, curves, "black", "p")
