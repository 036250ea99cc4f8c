"""A jet, its true class and the predicted one."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pipeline.drawing import jets
from pipeline.drawing.event import Event
from pipeline.drawing.figure import PALETTE

CAPTION = jets.CAPTION + "Blue: classified correctly. Red: misclassified."


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return a jet in η–φ, blue where its class was predicted, red where another was."""
    if not event.has("true_label", "predicted_probabilities"):
        return None
    true, probabilities = int(event.arrays["true_label"]), event.arrays["predicted_probabilities"]
    predicted = int(probabilities.argmax())
    share = 100 * float(probabilities[predicted])
    true_name, name = (jets.class_name(each, names) for each in (true, predicted))
    title = f"true: {true_name} · predicted: {name} ({share:.0f} %)"
    return jets.draw_jet(event, title, PALETTE[0] if predicted == true else PALETTE[5])
