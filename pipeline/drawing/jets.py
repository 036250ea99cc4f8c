"""A jet: its constituents around the axis, the true class and the one told."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.drawing.event import Event
from pipeline.drawing.figure import MUTED, PALETTE, colours, style

LARGEST = 900.0  # points², the circle of the hardest constituent
LEAST_RADIUS = 0.4  # in η and φ, so that jets can be compared
HALF = 0.5


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return a jet in η–φ, the area of a circle telling pT; None where it has no constituents.

    Blue where the class told is the true one, red where it is not.
    """
    if not event.has("true_label", "predicted_probabilities"):
        return None
    true, probabilities = int(event.arrays["true_label"]), event.arrays["predicted_probabilities"]
    told = int(probabilities.argmax())
    share = 100 * float(probabilities[told])
    title = f"true: {_name(true, names)} · told: {_name(told, names)} ({share:.0f} %)"
    return _drawn(event, title, PALETTE[0] if told == true else PALETTE[5])


def draw_sample(event: Event, names: Sequence[str]) -> Figure | None:
    """Return a jet as `draw` does, red where it is more like the data than the other sample."""
    if not event.has("true_label", "predicted_probabilities"):
        return None
    true, share = int(event.arrays["true_label"]), float(event.arrays["predicted_probabilities"][1])
    title = f"true: {_name(true, names)} · as in the data: {100 * share:.0f} %"
    return _drawn(event, title, PALETTE[5] if share > HALF else PALETTE[0])


def draw_vertices(event: Event, names: Sequence[str]) -> Figure | None:  # noqa: ARG001
    """Return a jet as `draw` does, true vertices left, found ones right; neutral particles grey."""
    pt = _pt(event)
    there = event.has("true_vertex", "true_charge", "predicted_track")
    if pt is None or not there or not {"deta", "dphi"} <= event.columns.keys():
        return None
    charged = event.arrays["true_charge"] != 0
    sides = {"true": event.arrays["true_vertex"] + 1, "found": event.arrays["predicted_track"]}
    areas = LARGEST * pt / pt.max(initial=1e-9)
    with style():
        figure = Figure(figsize=(9.6, 5.0), layout="constrained")
        for axes, (side, group) in zip(figure.subplots(1, 2), sides.items(), strict=True):
            shown = np.where(charged, group, 0)
            palette = np.array([MUTED, *colours(max(1, int(shown.max(initial=0))))])
            place = event.columns["deta"], event.columns["dphi"]
            axes.scatter(*place, s=areas, c=palette[shown], alpha=0.5, linewidth=0)
            axes.set(xlabel="Δη", ylabel="Δφ", aspect="equal")
            axes.set_title(f"{side}: {len(np.unique(shown[shown > 0]))} vertices")
            axes.grid()
    return figure


def _drawn(event: Event, title: str, colour: str) -> Figure | None:
    """Return the constituents around the axis in one colour; None where they are not known."""
    pt = _pt(event)
    if pt is None or not {"deta", "dphi"} <= event.columns.keys():
        return None
    eta, phi = event.columns["deta"], event.columns["dphi"]
    reach = max(LEAST_RADIUS, 1.1 * float(np.abs([eta, phi]).max(initial=0)))
    areas = LARGEST * pt / pt.max(initial=1e-9)
    with style():
        figure = Figure(figsize=(5.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(eta, phi, s=areas, color=colour, alpha=0.45, linewidth=0)
        axes.plot(0, 0, marker="+", color=MUTED, markersize=12)
        axes.set(xlabel="Δη", ylabel="Δφ", aspect="equal")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.set_title(f"{title}\n{len(pt)} constituents, Σ pT {pt.sum():,.0f} GeV")
        axes.grid()
    return figure


def _pt(event: Event) -> NDArray[Any] | None:
    """Return pT of the constituents, GeV, by its logarithm or by momenta; None without either."""
    columns = event.columns
    if "log_pt" in columns:
        return np.exp(columns["log_pt"])
    return np.hypot(columns["px"], columns["py"]) if {"px", "py"} <= columns.keys() else None


def _name(place: int, names: Sequence[str]) -> str:
    """Return the name of a class, its number where it has none."""
    return names[place] if place < len(names) else str(place)
