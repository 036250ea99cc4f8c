"""The numbers that a figure shows, read from what is drawn in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

HIDDEN = "_"  # begins the labels that matplotlib gives, and shows in no legend


@dataclass(frozen=True)
class Value:
    """A point of a line or of a scatter, a bar, a bin, or at x the two ends of a band.

    `panel` is the number of the axes in their figure, from 1, with their title or that of y;
    `high` is of a band, or the upper edge of a bin whose lower one is x.
    """

    panel: str
    kind: str
    label: str
    x: Any
    y: float
    high: float | None = None


def values_of(figure: Figure) -> Iterator[Value]:
    """Yield what is drawn in `figure`, axes after axes: lines, bands, bars, bins and points."""
    for number, axes in enumerate(figure.axes, 1):
        panel = f"{number} {axes.get_title() or axes.get_ylabel()}".strip()
        for kind, label, x, y, high in (*_lines(axes), *_patches(axes), *_collections(axes)):
            yield Value(panel, kind, "" if label.startswith(HIDDEN) else label, x, y, high)


Row = tuple[str, str, Any, float, float | None]


def _lines(axes: Axes) -> Iterator[Row]:
    """Yield the points of lines."""
    for line in axes.lines:
        for x, y in zip(*(np.asarray(each) for each in line.get_data()), strict=True):
            yield "line", str(line.get_label()), x, float(y), None


def _patches(axes: Axes) -> Iterator[Row]:
    """Yield the bins of histograms, and bars."""
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            values, edges, _ = patch.get_data()
            for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
                yield "bin", str(patch.get_label()), float(low), float(value), float(high)
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            flat = bars.orientation == "horizontal"
            names = [each.get_text() for each in axes.get_yticklabels()] if flat else []
            for place, bar in enumerate(bars.patches):
                name = names[place] if place < len(names) else bar.get_x()
                value = bar.get_width() if flat else bar.get_height()
                yield "bar", str(bars.get_label()), name, float(value), None


def _collections(axes: Axes) -> Iterator[Row]:
    """Yield points of scatters, bands, and error bars along y."""
    for each in axes.collections:
        label = str(each.get_label())
        if isinstance(each, PathCollection):
            for x, y in np.asarray(each.get_offsets(), float):
                yield "point", label, float(x), float(y), None
        elif isinstance(each, PolyCollection):
            for path in each.get_paths():
                corners = np.asarray(path.vertices, float)
                for x in np.unique(corners[:, 0]):
                    ends = corners[corners[:, 0] == x, 1]
                    yield "band", label, float(x), float(ends.min()), float(ends.max())
        elif isinstance(each, LineCollection):
            ends = (np.asarray(segment, float) for segment in each.get_segments())
            for (x, low), (other, high) in (both for both in ends if both.shape == (2, 2)):
                if x == other:
                    yield "error", label, float(x), float(low), float(high)
