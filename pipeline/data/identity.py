"""What an event is called: 63 bits from the content of its file and its place in that file.

So an event has the same id, and falls into the same split, whatever its file is called, wherever it
lies and whatever else is staged. Where an experiment numbers its events itself, the id is made of
those numbers instead: it survives that a file is written anew.

The ids of a file are consecutive, from a base that is the head of the file's SHA-256. Two ids meet
by chance only where the ranges of two files do: of F files with N events each with a probability of
F² N / 2^63, which is 1e-6 for 10,000 files of 100,000 events, and 5 % for 10^9 files of one event.
`check_ids` finds it. Axes: E events, n numbers of an event.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers
from pipeline.data.splits import keys

MASK = np.uint64(2**63 - 1)
OF_FILE = "file"  # in place of a column: the content of the file, and the event's place in it


def base_of(sha256: str) -> int:
    """Return the id of the first event of the file whose SHA-256 is given in hexadecimal."""
    return int(sha256[:16], 16) >> 1


def ids_from(base: int, numbers: Array) -> Integers:
    """Return the ids (E) of events with whole `numbers` (E): counted from `base`, modulo 2^63."""
    with np.errstate(over="ignore"):
        return ((np.uint64(base) + numbers.astype(np.uint64)) & MASK).astype(np.int64)


def numbers_from(base: int, event_id: Array) -> Integers:
    """Return the numbers (E) whose ids, counted from `base`, are `event_id` (E)."""
    with np.errstate(over="ignore"):
        return ((event_id.astype(np.uint64) - np.uint64(base)) & MASK).astype(np.int64)


@dataclass(frozen=True)
class Identity:
    """How events get their ids: by the array `key`, which numbers all events of `experiment`.

    With `key` "file" an id comes from the file's SHA-256, `content`, and the place there.
    """

    key: str
    experiment: str
    content: str = ""

    def ids(self, events: Events) -> Integers:
        """Return the ids (E) of `events`, whose own `event_id` is their place in the file.

        Raises:
            BadInput: They have no such array, or it does not hold whole numbers.
        """
        if self.key == OF_FILE:
            return ids_from(base_of(self.content), events.event_id)
        values = self._values(events)
        base = int(hashlib.sha256(f"{self.experiment}:{self.key}".encode()).hexdigest()[:16], 16)
        start = np.full(len(events), base >> 1, np.uint64)
        with np.errstate(over="ignore"):
            for column in values.T[:-1]:
                start = keys(start + column.astype(np.uint64))
            return ((start + values[:, -1].astype(np.uint64)) & MASK).astype(np.int64)

    def range(self, events: Events) -> tuple[int, int] | None:
        """Return the least and the largest number of `events`; None of none, and of `OF_FILE`.

        Of several numbers of an event it is the last: two events whose last differs are two.
        """
        if self.key == OF_FILE or not len(events):
            return None
        last = self._values(events)[:, -1]
        return int(last.min()), int(last.max())

    def _values(self, events: Events) -> Array:
        """Return the numbers (E, n) that distinguish the events of the experiment.

        Raises:
            BadInput: There is no such array, or it does not hold whole numbers.
        """
        values = events.per_event.get(self.key)
        if values is None or values.dtype.kind not in "iu" or values.ndim > 2:
            whole = [name for name, each in events.per_event.items() if each.dtype.kind in "iu"]
            what = "is not there" if values is None else f"is {values.dtype} {values.shape}"
            message = (
                f"{events.source}: event_key {self.key!r} {what}; expected whole numbers of each "
                f"event, one of {', '.join(whole) or '(none here)'}. Or write "
                f'event_key = "{OF_FILE}".'
            )
            raise BadInput(message)
        return values.reshape(len(events), -1)


def widest(ranges: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    """Return the least and the largest number of several ranges, None of none."""
    known = [each for each in ranges if each is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def meeting(bases: Sequence[int], counts: Sequence[int]) -> tuple[int, int] | None:
    """Return two files whose ids meet, of files with `counts` events from `bases`, or None."""
    order = sorted(range(len(bases)), key=lambda file: bases[file])
    for one, other in zip(order, (*order[1:], *order[:1]), strict=True):
        if one != other and (bases[other] - bases[one]) % 2**63 < counts[one]:
            return one, other
    return None
