"""Event displays: what is true of an event beside what was told, a file for each kind of task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.downstream.direction import display as neutrinos
from pipeline.downstream.values import display as clouds
from pipeline.drawing import jets, points, tracks
from pipeline.drawing.event import Event, events_of
from pipeline.drawing.scene import Scene

Draw = Callable[[Event, Sequence[str]], Figure | None]


@dataclass(frozen=True)
class Display:
    """How the events of a task are drawn, and the words below."""

    draw: Draw
    caption: str
    scene: Callable[[Event], Scene | None] = lambda _: None


CHAMBER = "Truth left, told right; above across the beam, below along it. "
TRACKS = Display(
    tracks.draw,
    "Truth left, found right; above across the beam, below along it. A found track looks like "
    "the particle that most of its points belong to, hollow where a larger track has that "
    "particle already; red crosses: mostly noise; grey: noise, or not assigned.",
    tracks.scene,
)
DISPLAYS = {
    **dict.fromkeys(("tracks", "clusters", "edges"), TRACKS),
    "particles": Display(points.draw_classes, CHAMBER + "A colour and a shape for each class."),
    "noise": Display(points.draw_classes, CHAMBER + "Blue circles: noise."),
    "momentum": Display(
        points.draw_momenta, CHAMBER + "Grey: of no particle whose momentum is known."
    ),
    "jets": Display(
        jets.draw,
        "Constituents around the axis of the jet; areas are as pT, of the hardest the same in all "
        "jets. Blue: told right. Red: told wrong.",
    ),
    "anomaly": Display(
        jets.draw_sample,
        "Constituents around the axis of the jet; areas are as pT, of the hardest the same in all "
        "jets. Red: more like the data than the other sample. Blue: less.",
    ),
    "vertices": Display(
        jets.draw_vertices,
        "Constituents around the axis of the jet, true vertices left, found ones right; areas are "
        "as pT. A colour for each vertex; grey: neutral, or of no vertex.",
    ),
    "values": Display(clouds.draw, "Points in x and y; above, what was told and what is true."),
    "direction": Display(
        neutrinos.draw,
        "Sensors that saw light; areas are as the charge, colours as the time of the first light. "
        "Arrows: where the neutrino went, through the middle of the light. Grey: all sensors.",
        neutrinos.scene,
    ),
}


def drawn(
    task: str, arrays: Mapping[str, NDArray[Any]], names: Sequence[str], most: int
) -> Iterator[tuple[int, Figure, Scene | None]]:
    """Yield id, display and scene of the first events of an `events.npz`, where they can be drawn.

    Args:
        task: What the head tells.
        arrays: Of the file.
        names: Of the classes, empty where there are none.
        most: So many events are drawn at most.
    """
    display = DISPLAYS[task]
    for event in islice(events_of(arrays), most):
        figure = display.draw(event, names)
        if figure is not None:
            yield event.id, figure, display.scene(event)
