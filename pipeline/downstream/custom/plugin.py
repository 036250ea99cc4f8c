"""The class of the user's file, and the pictures that it draws."""

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data import custom_code
from pipeline.data.errors import BadInput
from pipeline.downstream.custom.spec import FUNCTIONS, CustomTask
from pipeline.drawing.event import Event

PICTURE = "picture_{}"  # of an event, by its id


def class_of(task: CustomTask) -> Any:
    """Return the class that `task` names; a file is run once in a process.

    Raises:
        BadInput: The file cannot be loaded, or the class lacks a function.
    """
    return _loaded(task.code)


@cache
def _loaded(code: str) -> Any:
    """Return the class "file.py:Name"."""
    file, _, name = code.rpartition(":")
    found = custom_code.load(Path(file), name)
    missing = [each for each in FUNCTIONS if not callable(getattr(found, each, None))]
    if missing:
        message = f"{file}: {name} has no {', '.join(missing)}. See docs/downstream.md."
        raise BadInput(message)
    return found


def pictures(task: CustomTask, events: Iterable[Event]) -> dict[str, NDArray[Any]]:
    """Return the events as the class draws them, (H, W, 4) of 8 bits each, by name.

    They are drawn here and not by the report, which runs on a login node where the user's file may
    not load. A fault in `draw` costs the pictures alone: the default display takes their place.
    """
    draw = getattr(class_of(task), "draw", None)
    if draw is None:
        return {}
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found = {}
    try:
        for event in events:
            canvas = FigureCanvasAgg(draw(event))
            canvas.draw()
            found[PICTURE.format(event.id)] = np.asarray(canvas.buffer_rgba()).copy()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        print(f"{task.code}: draw failed ({type(error).__name__}: {error}).", file=sys.stderr)  # noqa: T201
        return {}
    return found
