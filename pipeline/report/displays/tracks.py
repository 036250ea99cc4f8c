"""The event display: true tracks beside found ones, across and along the beam."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.figure import MUTED, PALETTE, style

MARKERS = ("o", "s", "^", "D")
KEYS = ("points", "offsets", "event_id", "true_track", "predicted_track")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """How the points of one object are drawn."""

    colour: str
    marker: str
    filled: bool = True


Looks = Mapping[int, Look]
MOSTLY_NOISE = Look("#E0115F", "x")


@dataclass(frozen=True)
class Event:
    """One event: (P, 3) positions x, y, z in cm, and the particle and track of each point."""

    id: int
    position: NDArray[np.float64]
    true: Ints
    found: Ints


def events_of(arrays: Mapping[str, NDArray[Any]]) -> Iterator[Event]:
    """Yield the events of an `events.npz`, whose points are (energy, η, φ, r).

    x = r cos φ, y = r sin φ, z = r sinh η: η = −ln tan(θ/2) gives z/r = cot θ = sinh η.
    """
    if not arrays.keys() >= set(KEYS):
        return
    _, eta, phi, r = arrays["points"].astype(np.float64).T
    position = np.stack([r * np.cos(phi), r * np.sin(phi), r * np.sinh(eta)], axis=1)
    offsets = arrays["offsets"]
    for event_id, first, last in zip(arrays["event_id"], offsets, offsets[1:], strict=False):
        rows = slice(int(first), int(last))
        true, found = arrays["true_track"][rows], arrays["predicted_track"][rows]
        yield Event(int(event_id), position[rows], true, found)


def event_display(event: Event) -> Figure:
    """Return the event in x–y above z–r, truth on the left, found tracks on the right.

    A found track bears the look of the particle that most of its points belong to, hollow where
    a larger track has that particle already; a track that is mostly noise is drawn as red crosses,
    and points of no object in grey.
    """
    truth = looks(event.true)
    found = found_looks(event, truth)
    with style():
        figure = Figure(figsize=(10.5, 9.2), layout="constrained")
        panels = figure.subplots(2, 2, height_ratios=(5, 3), sharex="row", sharey="row")
        x, y, z = event.position.T
        sides: list[tuple[Ints, Looks]] = [(event.true, truth), (event.found, found)]
        for column, (ids, look) in enumerate(sides):
            _draw(panels[0, column], x, y, ids, look)
            _draw(panels[1, column], z, np.hypot(x, y), ids, look)
            panels[0, column].set(xlabel="x [cm]", aspect="equal")
            panels[1, column].set(xlabel="z [cm]")
        panels[0, 0].set(ylabel="y [cm]", title=f"true: {_objects(event.true)} particles")
        panels[0, 1].set(title=f"found: {_objects(event.found)} tracks")
        panels[1, 0].set(ylabel="r [cm]")
    return figure


def looks(ids: Ints) -> dict[int, Look]:
    """Return a colour and a marker for each particle, the one with most points first."""
    objects, points = np.unique(ids[ids != 0], return_counts=True)
    every = [Look(colour, marker) for marker, colour in product(MARKERS, PALETTE)]
    order = np.argsort(-points, kind="stable")
    return {int(objects[n]): every[place % len(every)] for place, n in enumerate(order)}


def found_looks(event: Event, truth: Looks) -> dict[int, Look]:
    """Return the look of each found track, the largest first, from those of the particles."""
    tracks, points = np.unique(event.found[event.found != 0], return_counts=True)
    result: dict[int, Look] = {}
    taken = set()
    for track in tracks[np.argsort(-points, kind="stable")]:
        owner = _most_common(event.true[event.found == track])
        look = truth.get(owner, MOSTLY_NOISE)
        result[int(track)] = replace(look, filled=owner not in taken)
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
    look: Looks,
) -> None:
    """Draw the points of each object; as pixels, since an event has many."""
    nothing = ids == 0
    pixels: dict[str, Any] = {"linestyle": "none", "rasterized": True, "markeredgewidth": 0.7}
    axes.plot(across[nothing], up[nothing], marker=".", markersize=3, color=MUTED, **pixels)
    for track in np.unique(ids[~nothing]):
        mine, shape = ids == track, look[int(track)]
        pixels |= {"color": shape.colour, "fillstyle": "full" if shape.filled else "none"}
        axes.plot(across[mine], up[mine], marker=shape.marker, markersize=3.7, **pixels)
    axes.grid()
