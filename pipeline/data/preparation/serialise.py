"""From events to what a sequence model reads: points in a fixed order, each with its neighbours.

As FM4NPP (arXiv:2508.14087) prepares them: sort by the last axis (r), find neighbours among later
points, then sort by voxel or along a curve, stably. Nothing depends on which other events are at
hand.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.campaign import Order
from pipeline.data.errors import BadInput
from pipeline.data.events import Events, Floats, Integers
from pipeline.data.experiment import Experiment, Rejected
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.bins import LETTERS, Bins
from pipeline.data.preparation.curves import hilbert, zorder
from pipeline.data.preparation.pulses import in_time_order

if TYPE_CHECKING:
    from pipeline.data.preparation.neighbours import Places

CURVES = {"hilbert": hilbert, "zorder": zorder}
WITHOUT_AXES = ("file", "time")


@dataclass(frozen=True)
class Preparation:
    """How the events of `experiment` are prepared; `bins` are there if `order` is of voxels."""

    experiment: Experiment
    order: Order
    neighbours: int = 0
    min_points: int = 1
    max_points: int = 1_000_000
    bins: Bins | None = None

    def __post_init__(self) -> None:
        """Refuse what the experiment has no axes for."""
        if self.order == "time" and "time" not in [each.name for each in self.experiment.columns]:
            message = f"{self.experiment.name}: no column 'time' to order by. Use order 'file'."
            raise BadInput(message)
        by_axes = self.order not in WITHOUT_AXES
        if self.experiment.axes is None and (self.neighbours or by_axes):
            message = (
                f"{self.experiment.name}: order {self.order!r} and {self.neighbours} neighbours "
                "need three axes, which this experiment has not. Use order 'file', 0 neighbours."
            )
            raise BadInput(message)
        if self.neighbours and not by_axes:
            message = (
                f"next neighbours are later points by the last axis: order {self.order!r} has none."
            )
            raise BadInput(message)

    @property
    def by_voxel(self) -> bool:
        """Whether the order is one of voxels, which needs bins."""
        return is_voxel_order(self.order)


def is_voxel_order(order: Order) -> bool:
    """Return whether `order` names axes: E, P and R."""
    return set(order) == set(LETTERS)


def usable(events: Events, settings: Preparation) -> tuple[Events, Rejected]:
    """Return the events of as many points as wanted, and how many were rejected and why."""
    small = events.sizes < settings.min_points
    name = "empty" if settings.min_points == 1 else "too_few_points"
    kept, rejected = settings.experiment.limit(events.select(~small), settings.max_points)
    return kept, {name: int(small.sum()), **rejected}


def serialise(events: Events, settings: Preparation) -> tuple[Events, "Places"]:
    """Return `events` in their store's columns and order, and each point's neighbours (P, k).

    Neighbours are indices within the event in that order, -1 for none.

    Raises:
        BadInput: A point has no coordinates of the experiment's, as on the beam line.
    """
    events = settings.experiment.transform(events)
    if settings.order in WITHOUT_AXES:
        events = in_time_order(events) if settings.order == "time" else events
        return events, np.empty((len(events.points), 0), np.int32)
    return _in_order(events, settings)


def _in_order(events: Events, settings: Preparation) -> tuple[Events, "Places"]:
    event = events.event
    last = events.column(settings.experiment.axes[2])  # type: ignore[index]
    events = events.permuted(np.lexsort((last, event)))
    position = normal(events, settings.experiment)
    if settings.order == "none":
        return events, _nearest(position, events.offsets, settings.neighbours)
    if settings.bins is not None:
        rank = settings.bins.groups(position, settings.order)
    else:
        rank = CURVES[settings.order](position)
    rows = np.lexsort((rank, event))
    return events.permuted(rows), _nearest(position, events.offsets, settings.neighbours, rows)


def _nearest(
    position: Floats, offsets: Integers, count: int, rows: Integers | None = None
) -> "Places":
    """Return the neighbours (P, count) of points in the order of `position`, or of its `rows`."""
    if not count:
        return np.empty((len(position), 0), np.int32)
    # Numba takes a third of the time in which a program of this room starts.
    from pipeline.data.preparation.neighbours import later_neighbours, moved

    found = later_neighbours(position, offsets, count)
    return found if rows is None else moved(found, rows, offsets)


def normal(events: Events, experiment: Experiment) -> Floats:
    """Return the position (P, 3) of each point, normalised to [0, 1] in the experiment's axes."""
    columns = {column.name: column for column in experiment.columns}
    axes = [columns[name] for name in experiment.axes or ()]
    return normalised(np.column_stack([events.column(each.name) for each in axes]), axes)
