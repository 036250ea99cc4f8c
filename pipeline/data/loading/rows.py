"""Copies of the rows of events: by numpy, and in a process that copies much by compiled code.

That copies several times as fast, and takes a second to load: what numpy needs for a gigabyte.

Axes: E events, P points.
"""

from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from pipeline.data.events import Array, Events, Integers, offsets_of

SKIPPED = -1
LONG = 256  # rows of an event, on average, from which copying it by itself is faster
MUCH = 1 << 30  # bytes copied in this process, from which on compiled code is worth its loading
_copied = [0]


def take(events: Events, order: Integers) -> Events:
    """Return copies of the events at the positions `order`, in that order."""
    sizes, begins = events.sizes[order], events.offsets[order]
    offsets, compiled = offsets_of(sizes), _compiled(events.points.nbytes)
    copy: Any = (
        partial(compiled.stretches, begins=begins, offsets=offsets)
        if compiled
        else partial(np.take, indices=_stretches(begins, sizes), axis=0)
    )
    return replace(
        events,
        points=copy(events.points),
        offsets=offsets,
        event_id=events.event_id[order],
        per_point={name: copy(values) for name, values in events.per_point.items()},
        per_event={name: values[order] for name, values in events.per_event.items()},
        epoch=None if events.epoch is None else events.epoch[order],
        verified=True,
    )


def scatter(chunk: Array, first: int, offsets: Integers, target: Integers, found: Array) -> None:
    """Copy the rows of `chunk`, the first of which is row `first`, to their events in `found`.

    Event e owns rows offsets[e] to offsets[e + 1], and in `found` those from target[e] on, unless
    that is SKIPPED.
    """
    compiled = _compiled(chunk.nbytes)
    if compiled:
        compiled.scatter(chunk, first, offsets, target, found)
        return
    last = first + len(chunk)
    begin = max(int(np.searchsorted(offsets, first, side="right")) - 1, 0)
    end = min(int(np.searchsorted(offsets, last, side="left")), len(target))
    events = begin + np.flatnonzero(target[begin:end] != SKIPPED)
    starts = np.maximum(offsets[events], first)
    sizes = np.minimum(offsets[events + 1], last) - starts
    there, here = starts - first, target[events] + starts - offsets[events]
    if int(sizes.sum()) < LONG * len(events):
        found[_stretches(here, sizes)] = chunk[_stretches(there, sizes)]
        return
    for origin, to, size in zip(there.tolist(), here.tolist(), sizes.tolist(), strict=True):
        found[to : to + size] = chunk[origin : origin + size]


def _stretches(starts: Integers, sizes: Integers) -> Integers:
    """Return the rows of stretches of such `sizes` (E) from `starts` (E) on, one after another."""
    ends = sizes.cumsum()
    rows: Integers = np.arange(int(sizes.sum())) + np.repeat(starts - (ends - sizes), sizes)
    return rows


def _compiled(size: int) -> ModuleType | None:
    """Return the compiled copies if they are worth it, after `size` more bytes are copied."""
    _copied[0] += size
    return _loaded() if _copied[0] > MUCH else None


@cache
def _loaded() -> ModuleType:
    from pipeline.data.loading import compiled_rows

    return compiled_rows
