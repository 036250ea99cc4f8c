"""The numbers that a figure shows, read from what is drawn in it."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

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
            yield from _bars(bars, [each.get_text() for each in axes.get_yticklabels()])


def _bars(bars: BarContainer, names: Sequence[str]) -> Iterator[Row]:
    """Yield bars by where they begin along x, or where they lie by the names along y."""
    for index, bar in enumerate(bars.patches):
        if bars.orientation == "horizontal":
            yield "bar", str(bars.get_label()), names[index], float(bar.get_width()), None
        else:
            yield "bar", str(bars.get_label()), bar.get_x(), float(bar.get_height()), None


def _collections(axes: Axes) -> Iterator[Row]:
    """Yield points of scatters, bands, and error bars along y."""
    for each in axes.collections:
        label = str(each.get_label())
        if isinstance(each, PathCollection):
            for x, y in np.asarray(each.get_offsets(), float):
                yield "point", label, float(x), float(y), None
        elif isinstance(each, PolyCollection):
            for path in each.get_paths():
                yield from _band(label, np.asarray(path.vertices, float))
        elif isinstance(each, LineCollection):
            yield from _errors(label, [np.asarray(ends, float) for ends in each.get_segments()])


def _band(label: str, corners: NDArray[np.float64]) -> Iterator[Row]:
    """Yield at each x the lowest and the highest of the corners (K, 2) of a band."""
    for x in np.unique(corners[:, 0]):
        ends = corners[corners[:, 0] == x, 1]
        yield "band", label, float(x), float(ends.min()), float(ends.max())


def _errors(label: str, segments: Sequence[NDArray[np.float64]]) -> Iterator[Row]:
    """Yield the ends of those segments (2, 2) that are upright."""
    for (x, low), (other, high) in (each for each in segments if each.shape == (2, 2)):
        if x == other:
            yield "error", label, float(x), float(low), float(high)


def as_csv(values: Iterable[Value]) -> str:
    """Return values as CSV with a head."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [each.name for each in fields(Value)]
    writer.writerow(names)
    for value in values:
        row = (getattr(value, name) for name in names)
        writer.writerow("" if each is None else each for each in row)
    return text.getvalue()
