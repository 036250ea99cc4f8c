"""A jet: its constituents around the axis, the true class and the one told."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.report.displays.event import Event
from pipeline.report.figure import MUTED, PALETTE, style

LARGEST = 900.0  # points², the circle of the hardest constituent
LEAST_RADIUS = 0.4  # in η and φ, so that jets can be compared


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return a jet in η–φ, the area of a circle telling pT; None where it has no constituents.

    Blue where the class told is the true one, red where it is not.
    """
    there = {"log_pt", "deta", "dphi"} <= event.columns.keys()
    if not there or not event.has("true_label", "predicted_probabilities"):
        return None
    pt = np.exp(event.columns["log_pt"])
    true, probabilities = int(event.arrays["true_label"]), event.arrays["predicted_probabilities"]
    told = int(probabilities.argmax())
    eta, phi = event.columns["deta"], event.columns["dphi"]
    reach = max(LEAST_RADIUS, 1.1 * float(np.abs([eta, phi]).max(initial=0)))
    with style():
        figure = Figure(figsize=(5.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(
            eta,
            phi,
            s=LARGEST * pt / pt.max(initial=1e-9),
            color=PALETTE[0] if told == true else PALETTE[5],
            alpha=0.45,
            linewidth=0,
        )
        axes.plot(0, 0, marker="+", color=MUTED, markersize=12)
        axes.set(xlabel="Δη", ylabel="Δφ", aspect="equal")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.set_title(
            f"true: {_name(true, names)} · told: {_name(told, names)} "
            f"({100 * float(probabilities[told]):.0f} %)\n"
            f"{len(pt)} constituents, Σ pT {pt.sum():,.0f} GeV"
        )
        axes.grid()
    return figure


def _name(place: int, names: Sequence[str]) -> str:
    """Return the name of a class, its number where it has none."""
    return names[place] if place < len(names) else str(place)
