"""Points in space of another discipline, with the numbers of the event."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing.event import Event
from pipeline.drawing.figure import PALETTE, style

TRUE, TOLD = "true_", "predicted_values"


def draw(event: Event, names: Sequence[str]) -> Figure | None:  # noqa: ARG001 - all draw with names
    """Return points in x and y, and in the title each number told and true; None without places."""
    if not {"x", "y"} <= event.columns.keys() or not event.has(TOLD):
        return None
    told = np.atleast_1d(event.arrays[TOLD])
    true = {name.removeprefix(TRUE): v for name, v in event.arrays.items() if name.startswith(TRUE)}
    words = [f"{name}: told {a:.3g}, true {b:.3g}" for (name, b), a in zip(true.items(), told)]  # noqa: B905 - of a backbone's own arrays there are more
    with style():
        figure = Figure(figsize=(5.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(
            event.columns["x"], event.columns["y"], color=PALETTE[0], alpha=0.5, linewidth=0
        )
        axes.set(xlabel="x", ylabel="y", aspect="equal")
        axes.set_title("\n".join(words))
        axes.grid()
    return figure
