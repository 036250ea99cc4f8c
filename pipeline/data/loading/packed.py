"""Events packed end to end, and how they are picked, joined and cut.

Axes: E events, P points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from pipeline.data.events import Array, Integers, offsets_of

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Packed:
    """Events of one read: event e owns rows offsets[e] to offsets[e + 1] of `per_point`.

    `event_id` (E) int64 global; `per_point`, (P, …) each, `points` among them; `per_event`, (E, …)
    each.
    """

    offsets: Integers
    event_id: Integers
    per_point: dict[str, Array]
    per_event: dict[str, Array]

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def sizes(self) -> Integers:
        """The number of points of each event, (E)."""
        return np.diff(self.offsets)

    def slice(self, start: int, stop: int) -> "Packed":
        """Return events `start` to `stop`, the last not included; nothing is copied."""
        offsets = self.offsets[start : stop + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return Packed(
            offsets=offsets - offsets[0],
            event_id=self.event_id[start:stop],
            per_point={name: each[rows] for name, each in self.per_point.items()},
            per_event={name: each[start:stop] for name, each in self.per_event.items()},
        )

    def take(self, events: Integers) -> "Packed":
        """Return copies of the events at the places `events`, in that order."""
        sizes = self.sizes[events]
        offsets = offsets_of(sizes)
        return Packed(
            offsets=offsets,
            event_id=self.event_id[events],
            per_point={
                name: _rows(each, self.offsets[events], offsets)
                for name, each in self.per_point.items()
            },
            per_event={name: each[events] for name, each in self.per_event.items()},
        )


def joined(several: Sequence[Packed]) -> Packed:
    """Return the events of `several`, one after another."""
    if len(several) == 1:
        return several[0]
    first = several[0]
    return replace(
        first,
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
    )


def _rows(values: Array, begins: Integers, offsets: Integers) -> Array:
    """Return the rows of `values` of events that begin at `begins`, laid out by `offsets`."""
    found = np.empty((int(offsets[-1]), *values.shape[1:]), values.dtype)
    width = values.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    if found.size:
        _copy(_as_bytes(values), _as_bytes(found), begins * width, offsets * width)
    return found


def _as_bytes(values: Array) -> Bytes:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _copy(source: Bytes, target: Bytes, begins: Integers, offsets: Integers) -> None:
    """Copy a stretch for each event from `source` at `begins` to `target` at `offsets`."""
    for event in range(len(begins)):
        start, stop = offsets[event], offsets[event + 1]
        begin = begins[event]
        target[start:stop] = source[begin : begin + stop - start]
