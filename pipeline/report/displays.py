"""Event displays: the truth of an event beside its prediction, as the task draws it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.downstream import DownstreamTask
from pipeline.downstream.task import Display
from pipeline.drawing import default
from pipeline.drawing.event import events_of
from pipeline.drawing.scene import Scene


def display_of(task: DownstreamTask) -> Display:
    """Return the display that lies beside the task, the default one where none does."""
    return cast("Display", task.beside("display") or default)


def drawn(
    task: DownstreamTask, arrays: Mapping[str, NDArray[Any]], names: Sequence[str], most: int
) -> Iterator[tuple[str, Figure, Scene | None]]:
    """Yield title, display and scene of the first events of an `events.npz` that can be drawn.

    Args:
        task: What was predicted.
        arrays: Of the file.
        names: Of the classes, empty where there are none.
        most: The number of events to draw at most.
    """
    display = display_of(task)
    scene = getattr(display, "scene", lambda _: None)
    for event in islice(events_of(arrays), most):
        figure = display.draw(event, names)
        if figure is not None:
            yield event.title, figure, scene(event)
