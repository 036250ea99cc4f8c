"""Stage a file with 30 neighbours a point, against one event after the other, and a mere copy."""

import shutil
from itertools import count
from pathlib import Path

import numpy as np

from pipeline.data.readers import read
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest
from tests.benchmarks.neighbours import NEIGHBOURS, dense, sorted_points


def contest(folder: Path, *, events: int) -> Contest:
    """Return the contest over one file of `events` events."""
    source = samples.npz(folder / "staging", events)
    numbers = count()

    def ours() -> None:
        place = folder / "staging" / str(next(numbers))
        samples.stage(place, samples.task(place, source, neighbours=NEIGHBOURS))
        shutil.rmtree(place)

    copy = "np.load and np.savez, no preparation"
    return Contest(
        what=f"stage npz, {NEIGHBOURS} neighbours",
        amount=events,
        unit="events",
        ours=ours,
        others={
            "per event: dense distances, np.savez": lambda: _per_event(source),
            copy: lambda: _copy(source),
        },
        limits=frozenset({copy}),
    )


def _per_event(source: Path) -> None:
    """Prepare the events as a loader does that keeps nothing: each by itself."""
    events, normal = sorted_points(read(source)[0])
    nearest = dense(normal, events.offsets)
    files = zip(events.offsets[:-1], events.offsets[1:], nearest, strict=True)
    for number, (start, stop, places) in enumerate(files):
        path = source.with_name(f"event-{number}.npz")
        np.savez(path, points=events.points[start:stop], neighbours=places.numpy())


def _copy(source: Path) -> None:
    with np.load(source) as archive:
        np.savez(source.with_name("copy.npz"), data=archive["data"], size=archive["size"])
