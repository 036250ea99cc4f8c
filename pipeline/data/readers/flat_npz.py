"""Points of any discipline in a flat npz file: what a user's own experiment can be read with.

`points` (P, F) holds the columns of all points, event by event, `sizes` (E) how many each event
has, and further arrays a row for each point or event. Axes: E events, P points of all events.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers, offsets_of
from pipeline.data.experiment import Entries, Opener, Rejected
from pipeline.data.readers.exact import rounded
from pipeline.data.readers.npz import CHECKSUM, Rows, arrays

POINTS, SIZES = "points", "sizes"


def flat_npz(
    columns: tuple[str, ...], *, per_point: tuple[str, ...] = (), per_event: tuple[str, ...] = ()
) -> Opener:
    """Return who opens npz files of points with these `columns`, and of arrays beside them."""
    return partial(_open, columns=columns, per_point=per_point, per_event=per_event)


@contextlib.contextmanager
def _open(
    path: Path, *, columns: tuple[str, ...], per_point: tuple[str, ...], per_event: tuple[str, ...]
) -> Iterator[Entries]:
    """Open `path`; no event is rejected here, and NaN is refused by `Events`.

    Raises:
        BadInput: The file is no npz, lacks an array, or its arrays do not belong together.
    """
    names = (POINTS, SIZES, *per_point, *per_event)
    layout = f"{POINTS} (points, {len(columns)}) of {', '.join(columns)}; {SIZES} (events); " + (
        ", ".join([*(f"{n} (points)" for n in per_point), *(f"{n} (events)" for n in per_event)])
    )
    with arrays(path, *names, layout=layout) as rows:
        found = dict(zip(names, rows, strict=True))
        points = found[POINTS]
        if len(points.shape) != 2 or points.shape[1] != len(columns):
            message = f"{path}: {POINTS} has shape {points.shape}; expected {layout}."
            raise BadInput(message)
        offsets = _offsets(path, found[SIZES], len(points))
        counts = dict.fromkeys(per_point, len(points)) | dict.fromkeys(per_event, len(offsets) - 1)
        for name, count in counts.items():
            if len(found[name]) != count:
                message = f"{path}: {name} has shape {found[name].shape}; expected {count} rows."
                raise BadInput(message)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            first, last = int(offsets[start]), int(offsets[stop])
            events = Events(
                source=str(path),
                columns=columns,
                points=rounded(path, POINTS, points.read(first, last)),
                offsets=offsets[start : stop + 1] - first,
                event_id=np.arange(start, stop),
                per_point={name: _native(found[name], first, last) for name in per_point},
                per_event={name: _native(found[name], start, stop) for name in per_event},
            )
            return events, {}

        yield Entries(len(offsets) - 1, read, checksum=CHECKSUM)


def _native(rows: Rows, start: int, stop: int) -> Array:
    """Return rows in this machine's own byte order."""
    values = rows.read(start, stop)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _offsets(path: Path, sizes: Rows, points: int) -> Integers:
    """Return the offsets (E + 1) of the events.

    Raises:
        BadInput: Sizes are no whole numbers, or there are more or fewer points.
    """
    if len(sizes.shape) != 1 or sizes.dtype.kind not in "iu":
        message = f"{path}: {SIZES} is {sizes.dtype} {sizes.shape}; expected a whole number each."
        raise BadInput(message)
    counts = sizes.read(0, len(sizes)).astype(np.int64)
    if (counts < 0).any() or counts.sum() != points:
        message = (
            f"{path}: {SIZES} sum to {counts.sum()}, but there are {points} points. "
            "Write both of the same events."
        )
        raise BadInput(message)
    return offsets_of(counts)
