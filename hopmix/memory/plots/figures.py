"""Energy landscapes with trajectories on them, and strips of images along a retrieval (page: book/memory/hierarchical.md)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hopmix.arguments import number, size
from hopmix.memory.hierarchical import State
from hopmix.memory.plots.surface import Landscape, project
from hopmix.plotting import PALETTE, figure, styled

# Its brightness rises evenly and it looks the same to people with and without colour vision deficiency.
_MAP = "cividis"
# Grey levels are what is known; a pixel that is missing has none and is blue.
_GREY = mpl.colormaps["gray"].with_extremes(bad=PALETTE["sky"])


@styled
def energy_landscape(
    landscape: Landscape,
    paths: State | None = None,
    marks: Sequence[tuple[str, Tensor | dict]] = (),
    ax: Axes | None = None,
    levels: int = 24,
    label: str = "energy",
    xlabel: str = "along the first direction",
    ylabel: str = "along the second direction",
) -> Figure:
    """Filled contours of a landscape, the nearest points of trajectories on top.

    Parameters
    ----------
    landscape : from ``hopmix.memory.plots.landscape``.
    paths : visited states (steps + 1, batch, *shape), for example from ``memory.iterate`` or ``memory.flow``.
    marks : pairs of a word and one state (*shape), written where the state is.
    ax : axes to draw on; None makes a figure.

    Returns
    -------
    The figure, also where axes were given. Raises TypeError for what is no Landscape, and as ``trajectories`` and ``project`` do.
    """
    if not isinstance(landscape, Landscape):
        raise TypeError(f"landscape must be a Landscape, from hopmix.memory.plots.landscape, got {type(landscape).__name__}")
    levels = size("levels", levels, least=2)
    if ax is None:
        ax = figure(height=4.2)[1][0, 0]
    grid = landscape.plane
    horizontal, vertical, values = (_array(x) for x in (grid.horizontal, grid.vertical, landscape.values))
    drawn = ax.contourf(horizontal, vertical, values, levels=levels, cmap=_MAP)
    ax.contour(horizontal, vertical, values, levels=drawn.levels, colors="white", linewidths=0.4, alpha=0.5)
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.9)
    if paths is not None:
        trajectories(ax, project(paths, grid))
    for word, state in marks:
        place = _array(project(state, grid))
        ax.plot(*place, marker="*", markersize=13, color=PALETTE["red"], markeredgecolor="white", linestyle="none")
        ax.annotate(word, place, xytext=(8, -15), textcoords="offset points", color="white", fontweight="bold")
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(horizontal[0], horizontal[-1]), ylim=(vertical[0], vertical[-1]))
    return ax.figure


def trajectories(ax: Axes, coordinates: Tensor | np.ndarray, colour: str = PALETTE["orange"]) -> None:
    """Paths in a plane, (steps + 1, batch, 2): an open circle where each starts, a disc where it ends.

    Raises ValueError for another shape.
    """
    paths = _array(coordinates)
    if paths.ndim != 3 or paths.shape[2] != 2 or 0 in paths.shape:
        raise ValueError(f"coordinates must be (steps + 1, batch, 2), got shape {paths.shape}")
    for path in paths.swapaxes(0, 1):
        ax.plot(*path.T, color="black", linewidth=3.2, alpha=0.6)
        ax.plot(*path.T, color=colour, linewidth=1.8)
    ax.plot(*paths[0].T, marker="o", markersize=6, markerfacecolor="white", markeredgecolor="black", linestyle="none")
    ax.plot(*paths[-1].T, marker="o", markersize=7, color=colour, markeredgecolor="black", linestyle="none")


@styled
def retrieval_strip(images: Tensor | np.ndarray, titles: Sequence[str] = (), rows: Sequence[str] = (), limits: tuple[float, float] | None = None) -> Figure:
    """Images along a retrieval: one row for each sample, one column for each step, one grey scale for all.

    Parameters
    ----------
    images : (samples, steps, height, width). NaN is a missing pixel, drawn in blue.
    titles : a word above each column; rows : a word left of each row.
    limits : the values that are black and white; None takes the smallest and the largest of all images.

    Raises
    ------
    ValueError : another shape, infinite entries, nothing but missing pixels, limits that are no increasing pair, or not one word
        for each column or row.
    """
    pictures = _array(images)
    if pictures.ndim != 4 or 0 in pictures.shape:
        raise ValueError(f"images must be (samples, steps, height, width), got shape {pictures.shape}")
    missing = np.isnan(pictures)
    if missing.all() or not np.isfinite(pictures[~missing]).all():
        raise ValueError("images must be finite, or NaN for a missing pixel, and not all of them missing")
    samples, steps, height, width = pictures.shape
    for name, words, count in (("titles", titles, steps), ("rows", rows, samples)):
        if words and len(words) != count:
            raise ValueError(f"{name} must be {count} words or none, got {len(words)}")
    black, white = np.nanmin(pictures), np.nanmax(pictures)
    if limits is not None:
        pair = isinstance(limits, Sequence) and not isinstance(limits, str) and len(limits) == 2
        black, white = (number("limits", end) for end in limits) if pair else (0.0, 0.0)
        if black >= white:
            raise ValueError(f"limits must be (black, white) with black < white, got {limits!r}")
    side = 5.6 / steps
    fig, axes = figure(samples, steps, height=side * height / width + 0.35 / samples, width=side)
    for sample, step in np.ndindex(samples, steps):
        ax = axes[sample, step]
        ax.imshow(pictures[sample, step], cmap=_GREY, vmin=black, vmax=white, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, word in zip(axes[0], titles):
        ax.set_title(word)
    for ax, word in zip(axes[:, 0], rows):
        ax.set_ylabel(word, rotation=0, ha="right", va="center")
    return fig


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
