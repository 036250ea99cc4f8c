"""The charts of the report: losses and node-hours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.budget.summary import Row
from pipeline.drawing.figure import MUTED, PALETTE, colours, style

Floats = NDArray[np.float64]
MOST_BINS = 120
MOST_BANDS = 12
STEPS_PER_BIN = 4
HATCHED: dict[str, Any] = {"color": "none", "edgecolor": MUTED, "hatch": "///"}


@dataclass(frozen=True)
class Curve:
    """The loss of one training after each step; `events` counts those seen until then."""

    label: str
    events: Floats
    loss: Floats


def loss_curves(curves: Sequence[Curve]) -> Figure:
    """Return the losses against events seen: median in bold, 68 % of the steps as a band.

    Of many curves the bands are left out: they would hide each other.
    """
    with style():
        rows = -(-len(curves) // 2)
        figure = Figure(figsize=(9, 4.6 + 0.28 * rows))
        axes = figure.add_subplot()
        lines = ["-", "--", ":", "-."]
        for index, (curve, colour) in enumerate(zip(curves, colours(len(curves)), strict=True)):
            events, low, middle, high = binned(curve)
            dash = lines[index // len(PALETTE) % len(lines)]
            if len(curves) <= MOST_BANDS:
                axes.fill_between(events, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(events, middle, color=colour, linestyle=dash, label=curve.label)
        dress_losses(axes, [curve.loss for curve in curves])
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def dress_losses(axes: Axes, losses: Sequence[Floats]) -> None:
    """Give axes of losses against events their words, and a logarithmic scale where it serves."""
    if _spans_decades(losses):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set(xlabel="events seen", ylabel="loss")
    axes.margins(x=0)
    axes.grid()


def binned(curve: Curve) -> tuple[Floats, Floats, Floats, Floats]:
    """Return (events, 16th percentile, median, 84th percentile) of the loss in even bins."""
    bins = min(MOST_BINS, max(1, len(curve.loss) // STEPS_PER_BIN))
    chunks = list(
        zip(np.array_split(curve.events, bins), np.array_split(curve.loss, bins), strict=True)
    )
    events = np.array([chunk.mean() for chunk, _ in chunks])
    low, middle, high = np.array([np.percentile(chunk, (16, 50, 84)) for _, chunk in chunks]).T
    return events, low, middle, high


def _spans_decades(losses: Sequence[Floats]) -> bool:
    """Return whether a logarithmic axis serves: all positive, and a factor of five apart."""
    values = np.concatenate(losses)
    values = values[np.isfinite(values)]
    return len(values) > 0 and values.min() > 0 and values.max() > 5 * values.min()


def node_hours_chart(rows: Sequence[Row]) -> Figure:
    """Return the node-hours of the stages of one site, charged and reserved, as bars."""
    with style():
        figure = Figure(figsize=(9, 1.3 + 0.55 * len(rows)))
        axes = figure.add_subplot()
        stages = [row.group for row in rows]
        charged = np.array([row.charged_node_hours for row in rows])
        reserved = np.array([row.reserved_node_hours for row in rows])
        axes.barh(stages, charged, color=PALETTE[0], label="charged", height=0.6)
        if reserved.any():
            axes.barh(stages, reserved, left=charged, label="reserved", height=0.6, **HATCHED)
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        for row, total in enumerate(charged + reserved):
            axes.annotate(
                f"{total:.3g}", (total, row), (6, 0), textcoords="offset points", va="center"
            )
        axes.set_xlim(0, max((charged + reserved).max() * 1.15, 1e-9))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="node-hours")
        axes.grid(axis="x")
    return figure
