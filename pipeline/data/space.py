"""The disk space that a store will need, estimated before staging, and whether it fits."""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.campaign import StageTask
from pipeline.data.experiment import Entries
from pipeline.data.part import Layout, arrays_of, prepared_range
from pipeline.data.source import size_of
from pipeline.data.store.shard import encoded
from pipeline.outcome import NoRoomError

SAMPLE_EVENTS = 64
MARGIN = 1.1
RECORDS = 2  # files that a staging part leaves beside the shards


@dataclass(frozen=True)
class Room:
    """Bytes and files that are needed or free."""

    bytes: int
    files: int

    def __str__(self) -> str:
        """Return the size in a readable unit, and the number of files."""
        return f"{size(self.bytes)} in {self.files:,} files"


def size(count: int) -> str:
    """Return `count` bytes in a readable unit."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def needed(task: StageTask, layout: Layout, entries: Entries, source: str) -> Room:
    """Return about what the store of `task` needs, from the first events of `source`.

    The other sources are taken to be like it, byte for byte. What is there already, from an
    earlier start, is not needed again.
    """
    count = min(entries.count, SAMPLE_EVENTS)
    prepared, _ = prepared_range(layout.preparation, entries, 0, count)
    arrays = arrays_of(prepared, prepared.events.event_id)
    files = {
        name: sum(map(len, chunks))
        for name, chunks in encoded(arrays, {}, layout.chunk_points, layout.codec)
    }
    described = sum(size for name, size in files.items() if name.endswith("zarr.json"))
    total = sum(size_of(name) for _, name in task.files)
    events = entries.count * total / max(size_of(source), 1)
    parts = max(len(task.files), math.ceil(events / layout.events_per_shard))
    shards = parts * max(1, len(layout.fractions))
    content = (sum(files.values()) - described) * events / max(len(prepared.events), 1)
    there = _there(task.store)
    left = max(0.0, 1 - there.files / (shards * len(files)))
    return Room(
        max(0, int(MARGIN * (content + shards * described)) - there.bytes),
        math.ceil(left * (shards * len(files) + RECORDS * parts)),
    )


def _there(store: Path) -> Room:
    files = [path for path in store.rglob("*") if path.is_file()] if store.exists() else []
    return Room(sum(path.stat().st_size for path in files), len(files))


def free(path: Path) -> Room:
    """Return the free space where `path` is or will be; without inodes any number of files fits."""
    while not path.exists():
        path = path.parent
    inodes = os.statvfs(path).f_favail
    return Room(shutil.disk_usage(path).free, inodes or 2**63 - 1)


def check(need: Room, store: Path) -> str:
    """Return one line on the space that is needed and the space that is free.

    Raises:
        NoRoomError: It does not fit.
    """
    has = free(store)
    if need.bytes > has.bytes or need.files > has.files:
        message = (
            f"{store}: needs about {need}, but only {has} are free. Free some, move the store, or "
            "stage fewer files."
        )
        raise NoRoomError(message)
    return f"{store}: needs about {need}; {has} are free."
