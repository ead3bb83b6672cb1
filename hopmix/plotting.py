"""The one figure style of the book: `@styled` draws in it, `figure` makes figures, `COLOURS` gives each model the same colour everywhere.

Colours are Okabe and Ito's, which people with any kind of colour vision can tell apart; lines differ in style or marker as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "red": "#D55E00",
    "pink": "#CC79A7",
}
COLOURS = {
    "theory": PALETTE["black"],
    "memory": PALETTE["blue"],
    "mixer": PALETTE["red"],
    "permuted": PALETTE["orange"],
    "sparse_mlp": PALETTE["blue"],
    "dense_mlp": PALETTE["black"],
    "leaky": PALETTE["blue"],
    "skip": PALETTE["red"],
    "tokens": PALETTE["green"],
    "channels": PALETTE["pink"],
    "quadratic": PALETTE["pink"],
    "vanilla": PALETTE["sky"],
    "paramixer": PALETTE["red"],
    "symmixer": PALETTE["blue"],
    "asymmixer": PALETTE["orange"],
    "signedmixer": PALETTE["pink"],
    "gelu": PALETTE["red"],
    "relu": PALETTE["sky"],
    "tanh": PALETTE["blue"],
    "softplus": PALETTE["green"],
    "softmax": PALETTE["orange"],
    "noisy": PALETTE["black"],
    "linear_filter": PALETTE["orange"],
    "stored_images": PALETTE["pink"],
    "start": PALETTE["blue"],
    "driven": PALETTE["sky"],
    "simultaneous": PALETTE["green"],
    "eliminated": PALETTE["blue"],
    "corrected": PALETTE["green"],
    "explicit": PALETTE["red"],
    "implicit": PALETTE["sky"],
    "symmetric": PALETTE["blue"],
    "asymmetric": PALETTE["orange"],
    "degree_2": PALETTE["sky"],
    "degree_3": PALETTE["blue"],
    "degree_4": PALETTE["red"],
    "degree_exp": PALETTE["orange"],
    "noisy_example": PALETTE["sky"],
    "taught_example": PALETTE["blue"],
    "new_example": PALETTE["orange"],
    "stored_threshold": PALETTE["red"],
    "stored_frequency": PALETTE["sky"],
    "stored_root": PALETTE["blue"],
}
_STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 150,
    "font.size": 13,
    "axes.labelsize": 13,
    "axes.titlesize": 13,
    "legend.fontsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "hopmix",
}


class Picture(Figure):
    """A figure that a notebook shows as a PNG when it is the value of a cell. It belongs to no pyplot state, so nothing keeps it alive."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()

    def savefig(self, *arguments, **options) -> None:
        """As in matplotlib; the same figure gives the same file, byte for byte, if SVG gets metadata={"Date": None}."""
        with mpl.rc_context(_STYLE):
            super().savefig(*arguments, **options)


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator of a function that draws a figure: inside it the book's settings hold, outside matplotlib's own are untouched."""

    @wraps(draw)
    def wrapper(*arguments, **options) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*arguments, **options)

    return wrapper


def figure(rows: int = 1, columns: int = 1, height: float = 3.4, width: float = 5.2) -> tuple[Picture, np.ndarray]:
    """A figure and its axes, (rows, columns), each panel `width` by `height` inches: readable when a phone shows one panel's width.

    Panels of one figure should stand above each other (rows), since beside each other they shrink on a phone.
    """
    picture = Picture(figsize=(width * columns, height * rows))
    return picture, picture.subplots(rows, columns, squeeze=False)


def band(axes: Axes, x: Sequence[float], curves: Sequence[Sequence[float]], colour: str, label: str) -> None:
    """The mean of several curves with the standard error of the mean as a band; curves: (seeds, points).

    Raises ValueError for no curves, or curves of another length than x.
    """
    curves = _curves(x, curves)
    mean, error = curves.mean(0), standard_error(curves)
    axes.plot(x, mean, color=colour, label=label)
    axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.25, linewidth=0)


def points(axes: Axes, x: Sequence[float], curves: Sequence[Sequence[float]], colour: str, label: str, marker: str = "o") -> None:
    """The mean of several curves as markers, with the standard error of the mean as bars; curves: (seeds, points).

    Raises as ``band`` does.
    """
    curves = _curves(x, curves)
    axes.errorbar(x, curves.mean(0), yerr=standard_error(curves), color=colour, label=label, marker=marker, linestyle="none", capsize=3)


def _curves(x: Sequence[float], curves: Sequence[Sequence[float]]) -> np.ndarray:
    lengths = sorted({np.size(curve) for curve in curves})
    if len(x) == 0 or lengths != [len(x)] or np.ndim(curves) != 2:
        found = f"{len(curves)} of length {', '.join(map(str, lengths))}" if lengths else "none"
        raise ValueError(f"curves: found {found}, and {len(x)} points x; allowed: one or more curves as long as x, which is not empty")
    return np.asarray(curves)


def standard_error(curves: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the first axis; zero where there is one curve, since it says nothing of the spread."""
    return curves.std(0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else np.zeros(curves.shape[1:])
