"""The vertices of a jet, true ones beside found ones."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing import jets
from pipeline.drawing.event import Event
from pipeline.drawing.figure import MUTED, colours, style

CAPTION = (
    "Constituents around the axis of the jet, true vertices left, found ones right; areas are in "
    "proportion to pT. A colour for each vertex; grey: neutral, or in no vertex."
)


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return a jet in η–φ, true vertices left, found ones right; neutral particles grey."""
    known = event.has("true_vertex", "true_charge", "predicted_track")
    if not known or not jets.can_be_drawn(event):
        return None
    charged = event.arrays["true_charge"] != 0
    sides = {"true": event.arrays["true_vertex"] + 1, "found": event.arrays["predicted_track"]}
    with style():
        figure = Figure(figsize=(9.6, 5.0), layout="constrained")
        for axes, (side, group) in zip(figure.subplots(1, 2), sides.items(), strict=True):
            shown = np.where(charged, group, 0)
            palette = np.array([MUTED, *colours(max(1, int(shown.max(initial=0))))])
            jets.constituents(axes, event, c=palette[shown], alpha=0.5)
            axes.set_title(f"{side}: {len(np.unique(shown[shown > 0]))} vertices")
    return figure
