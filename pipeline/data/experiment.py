"""An experiment: its columns, the readers of its files, and the preparation of its events.

Axes: E events, P points of all events.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.campaign import Order
from pipeline.catalog import Declaration
from pipeline.data import custom_code
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.identity import OF_FILE


class Column(Declaration):
    """One column of `points`; `(value - offset) / scale` normalises it, as `provenance` has it."""

    name: str
    unit: str
    offset: float
    scale: float
    provenance: str


Rejected = dict[str, int]


@dataclass(frozen=True)
class Entries:
    """An open source file: `count` events, of which any range can be read.

    `read(start, stop)` returns those events, including empty ones, with their position in the file
    as `event_id`, and the number of rejected ones by reason. Ranges come in rising order; the
    memory it uses grows with the range, never with the file. `tables` are the file's constants,
    equal in all files of a dataset: a detector's geometry. `checksum` names what the file's values
    are held to as they are read, "" where the file has no checksum.
    """

    count: int
    read: Callable[[int, int], tuple[Events, Rejected]]
    tables: dict[str, Array] = field(default_factory=dict)
    checksum: str = ""


Opener = Callable[..., AbstractContextManager[Entries]]
Limit = Callable[[Events, int], tuple[Events, Rejected]]


def drop_large(events: Events, most: int) -> tuple[Events, Rejected]:
    """Return the events with at most `most` points; counts `too_many_points`, in events."""
    large = events.sizes > most
    return events.select(~large), {"too_many_points": int(large.sum())}


def as_read(events: Events) -> Events:
    """Return `events` as they are."""
    return events


@dataclass(frozen=True)
class Experiment:
    """An experiment whose files can be staged.

    `columns` are those of the store, after `transform`. `readers` maps the suffix of a file's name
    to the `Opener`: an import path "module:name", so that its library loads when it is needed, or
    the function itself, as in a user's file. `companions` gives the paths, relative to a file, of
    files that belong to it and may lie beside it. An opener takes the path, and by name those of
    `options` that a dataset has `chosen`, such as the table to read where a file has several.
    `limit` handles events of too many points. `axes` are the three columns, normalised to [0, 1],
    that orders and neighbours use; points are sorted by the last of them first, and its equal-count
    bins are shared evenly by the groups between `group_limits` (physical units). `event_key` is an
    array of whole numbers that tells all events of the experiment from each other, or "file": then
    an event is its place in its file. `block_events` events are read and prepared at a time;
    `shard_events` entries make a shard by default: about 100 MB, of which a worker holds a few.
    `classes` is how many classes the `label` of its events counts, from 0; None where that is up to
    the files. Arrays that `may_be_missing` names may hold NaN for what is not known; every other
    number must be finite.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    readers: Mapping[str, "str | Opener"]
    companions: Callable[[str], tuple[str, ...]] = lambda _: ()
    transform: Callable[[Events], Events] = as_read
    limit: Limit = drop_large
    max_points: int = 1_000_000
    order: Order = "file"
    axes: tuple[str, str, str] | None = None
    group_limits: tuple[float, ...] = ()
    event_key: str = OF_FILE
    classes: int | None = None
    block_events: int = 256
    shard_events: int = 2048
    may_be_missing: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    chosen: Mapping[str, str] = field(default_factory=dict)

    def opener(self, suffix: str) -> Opener:
        """Return the opener of files that end in `suffix`, one of `readers`."""
        reader = self.readers[suffix]
        opener: Opener = load_object(reader) if isinstance(reader, str) else reader
        return partial(opener, **self.chosen) if self.chosen else opener

    def choosing(self, chosen: Mapping[str, str]) -> "Experiment":
        """Return the experiment whose readers are opened with the options `chosen`.

        Raises:
            BadInput: Its readers know no such option.
        """
        for name in chosen:
            if name not in self.options:
                known = ", ".join(sorted(self.options)) or "none"
                message = (
                    f"reader.{name}: {self.name} has no such option. Its readers know: {known}."
                )
                raise BadInput(message)
        return replace(self, chosen=chosen)


def load_object(import_path: str) -> Any:
    """Return the object at `import_path`: "module:name", or "file.py:name" of a user's file."""
    module, _, name = import_path.partition(":")
    if module.endswith(".py"):
        return custom_code.load(Path(module), name)
    return getattr(importlib.import_module(module), name)
