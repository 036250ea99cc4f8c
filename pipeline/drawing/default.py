"""The display of a task that has none of its own: points, and truth beside prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.drawing.event import Event, Floats
from pipeline.drawing.figure import MUTED, PALETTE, colours, style

CAPTION = (
    "Points in two of their columns: truth left, prediction right, where those are of points. "
    "Colours: a class each, or from small (dark) to large (light). Numbers of the event are above."
)
TRUE, PREDICTED = "true_", "predicted_"
PLANES = (("x", "y"), ("deta", "dphi"), ("eta", "phi"))
MOST_SHOWN = 6  # numbers of one array in a title


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return the points with what is true and predicted of them; None without any prediction."""
    if not any(name.startswith(PREDICTED) for name in event.arrays):
        return None
    labels, coordinates = plane(event)
    sides = [side for side in (TRUE, PREDICTED) if _of_points(event, side) is not None]
    with style():
        figure = Figure(figsize=(4.8 * max(1, len(sides)), 4.8), layout="constrained")
        panels = figure.subplots(1, max(1, len(sides)), squeeze=False)[0]
        for axes, side in zip(panels, sides or [""], strict=True):
            values = _of_points(event, side) if side else None
            shade = PALETTE[0] if values is None else _shades(values[1])
            axes.scatter(*coordinates, c=shade, s=14, linewidth=0, rasterized=True)
            axes.set(xlabel=labels[0], ylabel=labels[1])
            axes.set_title(values[0].replace("_", " ", 1) if values else "")
            axes.grid()
        figure.suptitle("\n".join(numbers(event)), fontsize=11)
    return figure


def plane(event: Event) -> tuple[Sequence[str], Floats]:
    """Return the labels and values (2, P) of two coordinates of points, the number of each last.

    Those are a position where the columns hold one, else the first columns.
    """
    if event.position is not None:
        return [event.label(name, of="r") for name in "xy"], event.position[:, :2].T
    columns = list(event.columns)
    known = [pair for pair in PLANES if set(pair) <= set(columns)]
    chosen = list(known[0] if known else columns[:2])
    values = [event.columns[name] for name in chosen]
    points = len(next(iter(event.columns.values()), np.empty(0)))
    missing = 2 - len(chosen)
    rows = np.array([*values, *[np.arange(points, dtype=np.float64)] * missing])
    return [*map(event.label, chosen), *["number of the point"] * missing], rows


def numbers(event: Event) -> list[str]:
    """Return a line for each array of the event: its name and its numbers."""
    points = len(next(iter(event.columns.values()), np.empty(0)))
    return [
        f"{name.replace('_', ' ', 1)}: {_listed(np.atleast_1d(values))}"
        for name, values in sorted(event.arrays.items(), reverse=True)
        if np.ndim(values) == 0 or len(values) != points
    ]


def _listed(values: NDArray[Any]) -> str:
    """Return the first numbers of an array."""
    shown = ", ".join(f"{each:.3g}" for each in values.ravel()[:MOST_SHOWN].tolist())
    return f"{shown}, …" if values.size > MOST_SHOWN else shown


def _of_points(event: Event, side: str) -> tuple[str, NDArray[Any]] | None:
    """Return name and values (P) of the first array of points that is true, or predicted.

    Of probabilities (P, C) the values are the most probable class.
    """
    points = len(next(iter(event.columns.values()), np.empty(0)))
    for name, values in event.arrays.items():
        if name.startswith(side) and np.ndim(values) and len(values) == points:
            return name, values.reshape(points, -1).argmax(1) if values.ndim > 1 else values
    return None


def _shades(values: NDArray[Any]) -> Any:
    """Return a colour of each point: of a class, the first of them grey, or the value itself."""
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != bool:
        return values
    classes, number = np.unique(values, return_inverse=True)
    return np.array([MUTED, *colours(max(1, len(classes)))])[number]
