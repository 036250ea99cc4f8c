"""A jet: its constituents around the axis, the area of a circle in proportion to pT."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.drawing.event import Event
from pipeline.drawing.figure import MUTED, style

LARGEST = 900.0  # points², the circle of the hardest constituent
LEAST_RADIUS = 0.4  # in η and φ, so that jets can be compared
CAPTION = (
    "Constituents around the axis of the jet; areas are in proportion to pT, that of the hardest "
    "the same in all jets. "
)


def can_be_drawn(event: Event) -> bool:
    """Return whether the position and pT of each constituent are known."""
    return pt_gev(event) is not None and {"deta", "dphi"} <= event.columns.keys()


def draw_jet(event: Event, title: str, colour: str) -> Figure | None:
    """Return the constituents in η–φ in one colour; None where they are not known."""
    pt = pt_gev(event)
    if pt is None or not can_be_drawn(event):
        return None
    offsets = [event.columns["deta"], event.columns["dphi"]]
    reach = max(LEAST_RADIUS, 1.1 * float(np.abs(offsets).max(initial=0)))
    with style():
        figure = Figure(figsize=(5.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        constituents(axes, event, color=colour, alpha=0.45)
        axes.plot(0, 0, marker="+", color=MUTED, markersize=12)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.set_title(f"{title}\n{len(pt)} constituents, Σ pT {pt.sum():,.0f} GeV")
    return figure


def constituents(axes: Axes, event: Event, **shown_as: Any) -> None:
    """Draw the constituents of a jet that `can_be_drawn`."""
    pt = pt_gev(event)
    areas = None if pt is None else LARGEST * pt / pt.max(initial=1e-9)
    axes.scatter(event.columns["deta"], event.columns["dphi"], s=areas, linewidth=0, **shown_as)
    axes.set(xlabel="Δη", ylabel="Δφ", aspect="equal")
    axes.grid()


def pt_gev(event: Event) -> NDArray[Any] | None:
    """Return pT of the constituents, GeV, by its logarithm or by momenta; None without either."""
    columns = event.columns
    if "log_pt" in columns:
        return np.exp(columns["log_pt"])
    return np.hypot(columns["px"], columns["py"]) if {"px", "py"} <= columns.keys() else None


def class_name(number: int, names: Sequence[str]) -> str:
    """Return the name of a class, its number where it has none."""
    return names[number] if number < len(names) else str(number)
