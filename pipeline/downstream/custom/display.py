"""Events as the user's class drew them, by the default display where it drew none."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pipeline.drawing import default
from pipeline.drawing.event import Event

CAPTION = f"As the task draws events, or by the default display. {default.CAPTION}"
DPI = 100  # pixels of a picture to an inch of the page


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return the picture that the evaluation kept of the event, else the default display."""
    picture = event.tables.get(f"picture_{event.id}")
    if picture is None:
        return default.draw(event, names)
    height, width = picture.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.set_axis_off()
    return figure
