"""Events of one source: their points and per-point truth, as flat arrays with offsets.

Axes: E events, P points of all events, F columns.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.errors import BadInput

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CARTESIAN = ("energy", "x", "y", "z")
LABELS: dict[str, Any] = {
    "track_id": np.int32,
    "pid": np.int8,
    "noise": np.bool_,
    "pt_gev": np.float32,
}


@dataclass(frozen=True)
class Events:
    """Points (P, F) of E events and their truth; event e owns rows offsets[e] to offsets[e + 1].

    Labels, each (P): `track_id`, unique in its event, negative for particles made in material, 0
    for noise; `pid`, 0 other, 1 pion, 2 kaon, 3 proton, 4 electron; `noise`; `pt_gev`, the true
    transverse momentum, 0 where unknown. `energy` is in ADC counts, lengths in cm.

    Raises:
        BadInput: The arrays do not fit together, or hold what no detector measures.
    """

    source: str
    points: Floats
    offsets: Integers
    event_id: Integers
    labels: dict[str, Array] = field(default_factory=dict)
    columns: tuple[str, ...] = CARTESIAN

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and impossible physics."""
        self._check_shapes()
        unreal = np.count_nonzero(~np.isfinite(self.points), axis=1) > 0
        self._refuse(unreal, "hold NaN or infinity; expected finite numbers")
        energy = self.points[:, self.columns.index("energy")]
        self._refuse(energy < 0, "have negative energy; expected ADC counts of 0 or more")

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
        for name, values in self.labels.items():
            if values.shape != (count,):
                message = (
                    f"{self.source}: label {name} has shape {values.shape}; expected ({count},), "
                    "one per point. Take labels and points of the same release."
                )
                raise BadInput(message)

    def _refuse(self, bad: Mask, fault: str) -> None:
        if not bad.any():
            return
        event = int(np.searchsorted(self.offsets, np.argmax(bad), side="right")) - 1
        message = (
            f"{self.source}: {np.count_nonzero(bad)} of {len(bad)} points {fault}; the first in "
            f"event {event}. Make the file again, or leave it out of the dataset."
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
        """The place in this object of the event that owns each point, (P)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def column(self, name: str) -> Floats:
        """Return the column `name`, (P)."""
        return self.points[:, self.columns.index(name)]

    def slice(self, start: int, stop: int) -> "Events":
        """Return events `start` to `stop`, the last not included."""
        offsets = self.offsets[start : stop + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return replace(
            self,
            points=self.points[rows],
            offsets=offsets - offsets[0],
            event_id=self.event_id[start:stop],
            labels={name: values[rows] for name, values in self.labels.items()},
        )

    def select(self, keep: Mask) -> "Events":
        """Return the events where `keep` (E) is true."""
        rows = np.repeat(keep, self.sizes)
        return replace(
            self,
            points=self.points[rows],
            offsets=offsets_of(self.sizes[keep]),
            event_id=self.event_id[keep],
            labels={name: values[rows] for name, values in self.labels.items()},
        )


def offsets_of(sizes: Array) -> Integers:
    """Return the offsets (E + 1) of events with `sizes` (E) points."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def concatenate(several: list[Events]) -> Events:
    """Return the events of `several`, which have equal columns and labels, one after another."""
    first = several[0]
    return replace(
        first,
        points=np.concatenate([each.points for each in several]),
        offsets=offsets_of(np.concatenate([each.sizes for each in several])),
        event_id=np.concatenate([each.event_id for each in several]),
        labels={
            name: np.concatenate([each.labels[name] for each in several]) for name in first.labels
        },
    )
