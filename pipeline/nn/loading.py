"""Events of a store as batches of tensors, in the columns and arrays that a model reads.

Axes: P points, F columns.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.data.events import Array, Events, Floats
from pipeline.data.experiment import Column
from pipeline.data.jet_inputs import ARRAYS, JET_ARRAY, columns_of
from pipeline.data.loading.selection import point_array
from pipeline.data.normalisation import normalised
from pipeline.families import Reads
from pipeline.nn.batch import Batch


def batch_of(events: Events, columns: Sequence[Column], reads: Reads, seed: int = 0) -> Batch:
    """Return `events` of a store with these `columns` as a batch of what the model `reads`.

    `seed` is that of the random numbers drawn for them (`pipeline.nn.draws`).
    """
    stored = events.per_point
    per_point = {name: _tensor(point_array(stored, name)) for name in reads.per_point}
    if reads.neighbours:
        per_point["neighbours"] = _tensor(stored["neighbours"][:, : reads.neighbours])
    return Batch(
        points=torch.from_numpy(_points(events, columns, reads)),
        offsets=torch.from_numpy(events.offsets),
        event_id=torch.from_numpy(events.event_id.copy()),
        per_point=per_point,
        per_event={name: _tensor(events.per_event[name]) for name in reads.per_event},
        epoch=None if events.epoch is None else _tensor(events.epoch),
        seed=seed,
    )


def batches(
    events: Events, columns: Sequence[Column], reads: Reads, batch_events: int, seed: int = 0
) -> Iterator[Batch]:
    """Yield all `events` in batches of `batch_events`; the last one may be smaller."""
    for part in events.slices(batch_events):
        yield batch_of(part, columns, reads, seed)


def _points(events: Events, columns: Sequence[Column], reads: Reads) -> Floats:
    """Return the columns that are read (P, F): normalised, or physical and derived if needed."""
    points = events.points
    if reads.physical:
        stored = dict(zip(events.columns, points.T, strict=True))
        stored |= {name: events.per_point[name] for name in ARRAYS if name in events.per_point}
        if JET_ARRAY in events.per_event:
            stored[JET_ARRAY] = events.per_event[JET_ARRAY]
        return columns_of(reads.columns, stored, events.offsets)
    chosen = [events.columns.index(name) for name in reads.columns]
    if chosen != list(range(len(columns))):
        points = points[:, chosen]
    return normalised(points, [columns[number] for number in chosen])


def _tensor(values: Array) -> Tensor:
    """Return a copy of `values` as a tensor: integers as int64, real numbers as float32."""
    kind = {"i": np.int64, "u": np.int64, "f": np.float32}.get(values.dtype.kind, np.bool_)
    return torch.from_numpy(values.astype(kind))
