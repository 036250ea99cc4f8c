"""A store of prepared events: awkward records by position, and batches for torch."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.store.opened import Store as Opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    import awkward

    from pipeline.nn.batch import Batch


class Store:
    """A store; `units` are those of its columns, "1" where a column has none."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.opened = Opened.open(self.path)
        self.units = {each.name: each.unit for each in self.opened.manifest.columns}

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {n:,}" for name, n in self.opened.manifest.events.items())
        return f"Store({self.path}: {counts} events)"

    def __getitem__(self, split: str) -> "Split":
        """Return a split.

        >>> len(store["train"])
        8

        Raises:
            BadInput: There is none of that name.
        """
        return Split(self, split)

    def batches(
        self, split: str, *, events: int = 64, shuffle: bool = False, seed: int = 0
    ) -> "Iterator[Batch]":
        """Yield the events of `split` once, packed end to end as tensors, `events` at a time.

        `points` (P, F) are normalised as the store says; event b is
        `points[offsets[b]:offsets[b + 1]]`. The other arrays are in `per_point` and `per_event`.

        >>> batch = next(store.batches("train", events=4))
        >>> batch.points.shape[1], len(batch.sizes), sorted(batch.per_point)
        (4, 4, ['noise', 'pid', 'pt_gev', 'track_id'])
        """
        from pipeline.data.loading import Loader, Reading
        from pipeline.data.store.records import kinds
        from pipeline.families import Reads
        from pipeline.nn.loading import batch_of

        of = kinds(self.opened, split)
        points, whole = ([name for name in of if of[name] == per] for per in ("point", "event"))
        reads = Reads(tuple(self.units), tuple(points), tuple(whole))
        reading = Reading(events, arrays=tuple(of), seed=seed, shuffle=shuffle, epochs=1)
        for each in Loader(self.opened, split, reading):
            yield batch_of(each, self.opened.manifest.columns, reads, seed)


class Split:
    """The events of one split, in the order of the store."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name, self._count = store, name, store.opened.events(name)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, which: int | slice) -> "awkward.Array":
        """Return an event, or a slice of events, as records in physical units.

        `points` are the columns and arrays of the points; the unit of a column is the parameter
        "unit" of its values. No other events are read.

        >>> events = store["train"][2:5]
        >>> len(events), events.points.fields[:4]
        (3, ['energy', 'eta', 'phi', 'r'])
        >>> print(events.points.r.type)
        3 * var * float32[parameters={"unit": "cm"}]
        >>> len(store["train"][-1].points) > 0
        True
        """
        from pipeline.data.store.records import records

        places = range(self._count)[which]
        if isinstance(places, int):
            return records(self.store.opened, self.name, places, places + 1)[0]
        low, high = (min(places), max(places) + 1) if places else (0, 0)
        found = records(self.store.opened, self.name, low, high)
        return found[:: places.step] if places.step > 0 else found[::-1][:: -places.step]
