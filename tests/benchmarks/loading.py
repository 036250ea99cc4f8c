"""Load shuffled batches of events of all sizes, on one core, against the limit and against others.

Everybody delivers the same: batches of as many whole events, in a random order, as one contiguous
array with offsets. What opens the files is not counted, as it happens once in a training.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.data.events import Events
from pipeline.data.loading import Loader, Reading, rows
from pipeline.data.store import Store
from tests.benchmarks import rivals, samples
from tests.benchmarks.contest import Contest, Line, Work, hold, weighed

DECODED = "all shards decoded in order, dropped"
MEMMAP = "np.memmap, event by event"
BATCH = {"sphenix": 64, "jets": 512}
CODECS = ("zstd", "lz4")
ARRAYS = ("points", "offsets", "event_id")


def contests(folder: Path, *, kind: str, events: Events) -> Iterator[Contest | str]:
    """Yield the contests of one `kind` of events, for each codec of the store."""
    place = folder / f"load-{kind}"
    others, notes = _rivals(place, kind, events)
    yield from notes
    for codec in CODECS:
        store = samples.stored(place / codec, kind, events, codec=codec)
        yield Contest(
            what=f"load {kind}, store with {codec}",
            amount=events.points.nbytes / 1e6,
            unit="MB",
            ours=loading(store, len(events.points), BATCH[kind]),
            others={DECODED: lambda store=store: decoded(store), **others},
            limits=frozenset({DECODED}),
            aims={DECODED: 0.8, **{name: 1.0 for name in others if name != MEMMAP}},
        )


def loading(store: Store, points: int, batch: int) -> Work:
    """Return the work of loading all `points` points of `store` from disk, shuffled."""
    rows.MUCH = 0  # as in a training that has gone on for some seconds
    reading = Reading(lane_events=batch, epochs=1, memory_bytes=0, seed=2)
    loader = Loader(store, "train", reading)

    def work() -> None:
        loader.seek(0)
        assert sum(len(each.points) for each in loader) == points

    return work


def decoded(store: Store) -> None:
    """Decode what the loader needs of all shards, in order."""
    for shard in store.shards("train"):
        shard.read(ARRAYS)


def _rivals(place: Path, kind: str, events: Events) -> tuple[dict[str, Work], list[str]]:
    """Return the works of all others that can read such events here, and a note on who cannot."""
    makers: dict[str, Callable[[Path, Events], rivals.Batches]] = {
        MEMMAP: rivals.memmap,
        "mmap_ninja, ragged": rivals.mmap_ninja,
        "parquet, row groups in random order": rivals.parquet,
    }
    if kind == "jets":
        makers["h5py, padded, as OmniLearned"] = rivals.padded_hdf5
    notes = []
    if reason := rivals.no_mosaic():
        notes.append(f"MosaicML streaming: left out, {reason}")
    else:
        makers["MosaicML streaming"] = rivals.mosaic
    works = {}
    for name, make in makers.items():
        batches = make(place, events)
        works[name] = lambda batches=batches: _drained(batches, kind, len(events.points))
    return works, notes


def _drained(batches: rivals.Batches, kind: str, points: int) -> None:
    assert sum(len(each) for each, _ in batches(BATCH[kind])) == points


def cold(folder: Path, *, kind: str, events: Events) -> Iterator[Line]:
    """Yield what comes of the same, against numpy.memmap, when no file is in the page cache."""
    place = folder / f"cold-{kind}"
    memmap = rivals.memmap(place, events, keep=False)
    ours = {codec: samples.stored(place / codec, kind, events, codec=codec) for codec in CODECS}
    for codec, store in ours.items():
        load = loading(store, len(events.points), BATCH[kind])
        works = {"ours": load, MEMMAP: lambda: _drained(memmap, kind, len(events.points))}
        evicted = {name: _from_disk(place, work) for name, work in works.items()}
        what = f"load {kind}, cold, store with {codec}"
        contest = Contest(
            what,
            events.points.nbytes / 1e6,
            "MB",
            evicted["ours"],
            {MEMMAP: evicted[MEMMAP]},
            aims={MEMMAP: 1.0},
        )
        yield from hold(contest, repeats=3)
        read = {name: _bytes_read(work) for name, work in evicted.items()}
        if read[MEMMAP]:
            yield weighed(f"{what}, bytes read", read["ours"], MEMMAP, read[MEMMAP])


def _from_disk(folder: Path, work: Work) -> Work:
    """Return `work` with every file below `folder` dropped from the page cache before it."""

    def evicted() -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        work()

    return evicted


def _bytes_read(work: Work) -> int:
    """Return how many bytes this process has the disk read for `work`."""
    before = _read_so_far()
    work()
    return _read_so_far() - before


def _read_so_far() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes")))
