"""From events to what a sequence model reads: points in voxel order, each with its neighbours.

As FM4NPP (arXiv:2508.14087) prepares them: sort by r, find neighbours among later points, then sort
by voxel, stably. Nothing depends on which other events are at hand.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.campaign import Order
from pipeline.data.bins import Bins
from pipeline.data.coordinates import SPHENIX, cylindrical
from pipeline.data.events import Events, Integers
from pipeline.data.neighbours import NONE, later_neighbours


@dataclass(frozen=True)
class Serialised:
    """Events in voxel order, with columns energy, eta, phi, r in physical units.

    `neighbours` (P, k) are places within the event in that same order, -1 for none.
    """

    events: Events
    neighbours: npt.NDArray[np.int32]


def usable(events: Events, max_points: int) -> tuple[Events, dict[str, int]]:
    """Return the events with 1 to `max_points` points, and how many were dropped and why."""
    sizes = events.sizes
    empty, large = sizes == 0, sizes > max_points
    dropped = {"empty_tpc": int(empty.sum()), "too_many_points": int(large.sum())}
    return events.select(~empty & ~large), dropped


def serialise(events: Events, bins: Bins, *, order: Order, neighbours: int) -> Serialised:
    """Return `events` (columns energy, x, y, z) in the voxel order `order` with `neighbours` each.

    Raises:
        BadInput: A point lies on the beam line.
    """
    by_radius = cylindrical(events)
    by_radius = permuted(by_radius, np.lexsort((by_radius.column("r"), by_radius.event)))
    normal = SPHENIX.apply(by_radius.points)[:, 1:]
    event = by_radius.event
    rows = np.lexsort((bins.groups(normal, order), event))
    nearest = later_neighbours(normal, by_radius.offsets[event + 1], neighbours)
    return Serialised(
        events=permuted(by_radius, rows),
        neighbours=_reindexed(nearest, rows, by_radius.offsets[event]).astype(np.int32),
    )


def permuted(events: Events, rows: Integers) -> Events:
    """Return `events` with their points at `rows` (P), which keep to their events."""
    labels = {name: values[rows] for name, values in events.labels.items()}
    return replace(events, points=events.points[rows], labels=labels)


def _reindexed(nearest: Integers, rows: Integers, begins: Integers) -> Integers:
    """Return `nearest` for the points at `rows`, as places within their event after the move."""
    place = np.empty(len(rows), np.int64)
    place[rows] = np.arange(len(rows))
    moved = nearest[rows]
    # An event keeps its rows as a block, so `begins` serves both orders.
    local = place[moved] - begins[:, None]
    return np.where(moved == NONE, NONE, local)
