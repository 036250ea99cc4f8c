"""Points of another discipline in space, with the numbers of the event."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing.event import Event
from pipeline.drawing.figure import PALETTE, style

TRUE, PREDICTED = "true_", "predicted_values"
CAPTION = "Points in x and y; above, the predicted and the true numbers."


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return points in x and y, the title each number predicted and true; None without x and y."""
    if not {"x", "y"} <= event.columns.keys() or not event.has(PREDICTED):
        return None
    predicted = np.atleast_1d(event.arrays[PREDICTED])
    true = {name.removeprefix(TRUE): v for name, v in event.arrays.items() if name.startswith(TRUE)}
    # A backbone may read further arrays of events, which come last.
    pairs = zip(true.items(), predicted, strict=False)
    lines = [f"{name}: predicted {value:.3g}, true {truth:.3g}" for (name, truth), value in pairs]
    with style():
        figure = Figure(figsize=(5.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(
            event.columns["x"], event.columns["y"], color=PALETTE[0], alpha=0.5, linewidth=0
        )
        axes.set(xlabel=event.label("x"), ylabel=event.label("y"), aspect="equal")
        axes.set_title("\n".join(lines))
        axes.grid()
    return figure
