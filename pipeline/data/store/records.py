"""Events of a store as awkward records, by their place in a split. Axes: E events, P points."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.data.events import Array
from pipeline.data.store.opened import Shard, Store

OWN = ("points", "offsets", "event_id", "neighbours")


def kinds(store: Store, split: str) -> dict[str, str]:
    """Return whether each further array of a split is "per" point or event, by its name."""
    arrays = store.shards(split)[0].record.arrays
    return {name: each.per for name, each in arrays.items() if name not in OWN}


def records(store: Store, split: str, start: int, stop: int) -> Any:
    """Return the events `start` to `stop` of `split`, in physical units, as an awkward array.

    `points` are their columns and arrays per point; the unit of a column is the parameter "unit" of
    its values. Beside them are `event_id` and the arrays per event. No other rows are unpacked.

    Raises:
        BadInput: There is no such split, or a shard is damaged.
    """
    import awkward

    parts = list(_parts(store, split, start, stop))
    return awkward.concatenate(parts) if parts else next(_parts(store, split, 0, 1))[:0]


def _parts(store: Store, split: str, start: int, stop: int) -> Iterator[Any]:
    """Yield the events `start` to `stop`, those of a shard together."""
    first = 0
    for shard in store.shards(split):
        low, high = max(start - first, 0), min(stop - first, shard.record.events)
        if low < high:
            yield _of_shard(store, shard, kinds(store, split), low, high)
        first += shard.record.events


def _of_shard(store: Store, shard: Shard, further: dict[str, str], low: int, high: int) -> Any:
    """Return the events `low` to `high` of a shard."""
    import awkward

    offsets = shard.read(("offsets",))["offsets"][low : high + 1]

    def rows(name: str, per: str) -> Array:
        bounds = (low, high) if per == "event" else (int(offsets[0]), int(offsets[-1]))
        return shard.rows(name, *bounds)

    matrix, sizes = rows("points", "point"), np.diff(offsets)
    columns: dict[str, Any] = {
        each.name: awkward.with_parameter(np.ascontiguousarray(column), "unit", each.unit)
        for each, column in zip(store.manifest.columns, matrix.T, strict=True)
    }
    columns |= {name: rows(name, per) for name, per in further.items() if per == "point"}
    lists = {name: awkward.unflatten(each, sizes) for name, each in columns.items()}
    of_events = {name: rows(name, per) for name, per in further.items() if per == "event"}
    points = awkward.zip(lists, depth_limit=2)
    fields = {"event_id": rows("event_id", "event"), "points": points, **of_events}
    return awkward.zip(fields, depth_limit=1)
