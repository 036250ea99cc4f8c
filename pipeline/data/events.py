"""Events: points packed end to end in flat arrays with offsets, with all that is known of them.

Axes: E events, P points of all events, F columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from pipeline.data.errors import BadInput

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = Mapping[str, Array]

CARTESIAN = ("energy", "x", "y", "z")


@dataclass(frozen=True)
class Events:
    """Points (P, F) of E events; event e owns rows offsets[e] to offsets[e + 1].

    `points` holds the measured, continuous values, one column for each of `columns`. Everything
    else keeps its own name and exact type: `per_point`, (P) or (P, n) each: ids, flags and truth;
    `per_event`, (E) or (E, n) each: labels and other values of the whole event; `tables`, any
    shape: constants of the detector. `event_id` (E) is the position of the event in its file, or,
    of a store, its global id. `source` is the file or store, for messages. `epoch` (E) is the pass
    over the data in which a loader gives an event, from 0; None outside of one.

    New events are checked. Set `verified` for the events of a store, which were checked when they
    were staged; events that are made from others are not checked again.

    Raises:
        BadInput: The arrays do not fit together, or hold values that no detector measures.
    """

    source: str
    columns: tuple[str, ...]
    points: Floats
    offsets: Integers
    event_id: Integers
    per_point: dict[str, Array] = field(default_factory=dict)
    per_event: dict[str, Array] = field(default_factory=dict)
    tables: Rows = field(default_factory=dict)
    epoch: Integers | None = None
    verified: InitVar[bool] = False

    def __post_init__(self, verified: bool) -> None:
        """Refuse arrays that do not fit together, and impossible physics."""
        if verified:
            return
        self._check_shapes()
        finite = np.isfinite(self.points)
        if not finite.all():
            self._refuse(~np.all(finite, axis=1), "hold NaN or infinity; expected finite numbers")
        if "energy" in self.columns and self.column("energy").min(initial=0) < 0:
            negative = self.column("energy") < 0
            self._refuse(negative, "have negative energy; expected 0 or more")

    def _check_shapes(self) -> None:
        count = len(self.points)
        if self.points.ndim != 2 or self.points.shape[1] != len(self.columns):
            expected = f"(points, {len(self.columns)}) for {', '.join(self.columns)}"
            message = f"{self.source}: points have shape {self.points.shape}; expected {expected}."
            raise BadInput(message)
        if len(self.offsets) != len(self.event_id) + 1 or np.any(np.diff(self.offsets) < 0):
            message = f"{self.source}: offsets do not rise through {len(self.event_id)} events."
            raise BadInput(message)
        if self.offsets[0] != 0 or self.offsets[-1] != count:
            message = (
                f"{self.source}: event sizes sum to {self.offsets[-1]}, but there are {count} "
                "points. The file is damaged or its parts do not belong together; fetch it again."
            )
            raise BadInput(message)
        self._check_lengths(self.per_point, count, "one per point")
        self._check_lengths(self.per_event, len(self), "one per event")

    def _check_lengths(self, arrays: dict[str, Array], count: int, meaning: str) -> None:
        for name, values in arrays.items():
            if values.ndim == 0 or len(values) != count:
                message = (
                    f"{self.source}: {name} has shape {values.shape}; expected ({count},), "
                    f"{meaning}. Take labels and points of the same release."
                )
                raise BadInput(message)

    def _refuse(self, bad: Mask, fault: str) -> NoReturn:
        event = int(np.searchsorted(self.offsets, np.argmax(bad), side="right")) - 1
        message = (
            f"{self.source}: {np.count_nonzero(bad)} of {len(bad)} points {fault}; the first in "
            f"event {self.event_id[event]}. Make the file again, or leave it out of the dataset."
        )
        raise BadInput(message)

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def sizes(self) -> Integers:
        """The number of points of each event, (E)."""
        return np.diff(self.offsets)

    @property
    def event(self) -> Integers:
        """The event of each point, (P), counted from 0."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def column(self, name: str) -> Floats:
        """Return the column `name`, (P)."""
        return self.points[:, self.columns.index(name)]

    def slice(self, start: int, stop: int) -> "Events":
        """Return events `start` to `stop`, the last not included; nothing is copied."""
        offsets = self.offsets[start : stop + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return replace(
            self,
            points=self.points[rows],
            offsets=offsets - offsets[0],
            event_id=self.event_id[start:stop],
            per_point={name: values[rows] for name, values in self.per_point.items()},
            per_event={name: values[start:stop] for name, values in self.per_event.items()},
            epoch=None if self.epoch is None else self.epoch[start:stop],
            verified=True,
        )

    def slices(self, events: int) -> "Iterator[Events]":
        """Yield all events in slices of `events`; the last one may be smaller."""
        for start in range(0, len(self), events):
            yield self.slice(start, min(start + events, len(self)))

    def select(self, keep: Mask) -> "Events":
        """Return the events where `keep` (E) is true."""
        if keep.all():
            return self
        rows = np.repeat(keep, self.sizes)
        return replace(
            self,
            points=self.points[rows],
            offsets=offsets_of(self.sizes[keep]),
            event_id=self.event_id[keep],
            per_point={name: values[rows] for name, values in self.per_point.items()},
            per_event={name: values[keep] for name, values in self.per_event.items()},
            epoch=None if self.epoch is None else self.epoch[keep],
            verified=True,
        )

    def thin(self, keep: Mask) -> "Events":
        """Return all events with the points where `keep` (P) is true."""
        if keep.all():
            return self
        return replace(
            self,
            points=self.points[keep],
            offsets=offsets_of(keep)[self.offsets],
            per_point={name: values[keep] for name, values in self.per_point.items()},
            verified=True,
        )

    def permuted(self, rows: Integers) -> "Events":
        """Return the events with their points in the order `rows` (P), within each event."""
        per_point = {name: values[rows] for name, values in self.per_point.items()}
        return replace(self, points=self.points[rows], per_point=per_point, verified=True)


def offsets_of(sizes: Array) -> Integers:
    """Return the offsets (E + 1) of events with `sizes` (E) points."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def concatenate(several: Sequence[Events]) -> Events:
    """Return the events of `several`, which have equal columns, arrays and tables, in one."""
    first = several[0]
    if len(several) == 1:
        return first
    epochs = [each.epoch for each in several if each.epoch is not None]
    return replace(
        first,
        points=np.concatenate([each.points for each in several]),
        offsets=offsets_of(np.concatenate([each.sizes for each in several])),
        event_id=np.concatenate([each.event_id for each in several]),
        per_point={
            name: np.concatenate([each.per_point[name] for each in several])
            for name in first.per_point
        },
        per_event={
            name: np.concatenate([each.per_event[name] for each in several])
            for name in first.per_event
        },
        epoch=np.concatenate(epochs) if epochs else None,
        verified=True,
    )
