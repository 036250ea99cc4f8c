"""A jet, its true class and how much it is like the data."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pipeline.drawing import jets
from pipeline.drawing.event import Event
from pipeline.drawing.figure import PALETTE

CAPTION = jets.CAPTION + "Red: more like the data than the other sample. Blue: less."
HALF = 0.5


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return a jet in η–φ, red where it is more like the data than the other sample."""
    if not event.has("true_label", "predicted_probabilities"):
        return None
    true, share = int(event.arrays["true_label"]), float(event.arrays["predicted_probabilities"][1])
    title = f"true: {jets.class_name(true, names)} · as in the data: {100 * share:.0f} %"
    return jets.draw_jet(event, title, PALETTE[5] if share > HALF else PALETTE[0])
