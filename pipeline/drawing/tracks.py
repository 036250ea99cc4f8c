"""True tracks beside found ones, across and along the beam."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.drawing.chamber import chamber
from pipeline.drawing.event import Event, Floats
from pipeline.drawing.figure import MUTED, PALETTE, style
from pipeline.drawing.scene import Scene, View

MARKERS = ("o", "s", "^", "D")
CAPTION = (
    "Truth left, found right; above across the beam, below along it. A found track looks like the "
    "particle that most of its points belong to, hollow where a larger track has that particle "
    "already; red crosses: mostly noise; grey: noise, or not assigned."
)
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Style:
    """How the points of one object are drawn."""

    colour: str
    marker: str
    filled: bool = True


Styles = Mapping[int, Style]
MOSTLY_NOISE = Style("#E0115F", "x")


def draw(event: Event, names: Sequence[str]) -> Figure | None:
    """Return the event, None where its points have no position or its tracks are not there."""
    if event.position is None or not event.has("true_track", "predicted_track"):
        return None
    return event_display(
        Tracks(event.position, event.arrays["true_track"], event.arrays["predicted_track"])
    )


def scene(event: Event) -> Scene | None:
    """Return the event in space, true beside found; None where it cannot be drawn."""
    if event.position is None or not event.has("true_track", "predicted_track"):
        return None
    tracks = Tracks(event.position, event.arrays["true_track"], event.arrays["predicted_track"])
    truth = styles(tracks.true)
    sides = [("true", tracks.true, truth), ("found", tracks.found, found_styles(tracks, truth))]
    views = [
        View(title, [styles_of[n].colour if n in styles_of else MUTED for n in ids.tolist()])
        for title, ids, styles_of in sides
    ]
    return Scene(event.position, "cm", views)


@dataclass(frozen=True)
class Tracks:
    """(P, 3) positions x, y, z in cm of one event, and the particle and track of each point."""

    position: Floats
    true: Ints
    found: Ints


def event_display(event: Tracks) -> Figure:
    """Return the event in x–y above z–r, truth on the left, found tracks on the right.

    A found track is drawn like the particle that most of its points belong to, hollow where
    a larger track has that particle already; a track that is mostly noise is drawn as red crosses,
    and points of no object in grey.
    """
    truth = styles(event.true)
    found = found_styles(event, truth)
    titles = f"true: {_objects(event.true)} particles", f"found: {_objects(event.found)} tracks"
    with style():
        figure, sides = chamber(titles)
        shown: list[tuple[Ints, Styles]] = [(event.true, truth), (event.found, found)]
        for side, (ids, styles_of) in zip(sides, shown, strict=True):
            for axes, across, up in side.views(event.position):
                _draw(axes, across, up, ids, styles_of)
    return figure


def styles(ids: Ints) -> dict[int, Style]:
    """Return a colour and a marker for each particle, the one with most points first."""
    objects, points = np.unique(ids[ids != 0], return_counts=True)
    styles = [Style(colour, marker) for marker, colour in product(MARKERS, PALETTE)]
    order = np.argsort(-points, kind="stable")
    return {int(objects[n]): styles[rank % len(styles)] for rank, n in enumerate(order)}


def found_styles(event: Tracks, truth: Styles) -> dict[int, Style]:
    """Return the style of each found track, the largest first, from those of the particles."""
    tracks, points = np.unique(event.found[event.found != 0], return_counts=True)
    result: dict[int, Style] = {}
    taken = set()
    for track in tracks[np.argsort(-points, kind="stable")]:
        owner = _most_common(event.true[event.found == track])
        style_of = truth.get(owner, MOSTLY_NOISE)
        result[int(track)] = replace(style_of, filled=owner not in taken)
        taken.add(owner)
    return result


def _most_common(values: Ints) -> int:
    """Return the most frequent of `values`."""
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[np.argmax(counts)])


def _objects(ids: Ints) -> int:
    """Return how many objects there are besides 0."""
    return len(np.unique(ids[ids != 0]))


def _draw(
    axes: Axes,
    across: NDArray[np.float64],
    up: NDArray[np.float64],
    ids: Ints,
    styles_of: Styles,
) -> None:
    """Draw the points of each object; as pixels, since an event has many."""
    nothing = ids == 0
    pixels: dict[str, Any] = {"linestyle": "none", "rasterized": True, "markeredgewidth": 0.7}
    axes.plot(across[nothing], up[nothing], marker=".", markersize=3, color=MUTED, **pixels)
    for track in np.unique(ids[~nothing]):
        mine, shape = ids == track, styles_of[int(track)]
        pixels |= {"color": shape.colour, "fillstyle": "full" if shape.filled else "none"}
        axes.plot(across[mine], up[mine], marker=shape.marker, markersize=3.7, **pixels)
