"""Stage equal files with two workers against one: whole runs of `cosmotron stage`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.benchmarks import samples
from tests.benchmarks.contest import Contest, Line, Work, hold
from tests.benchmarks.neighbours import NEIGHBOURS

FILES = 4
ROUNDS = 1  # and one that does not count: a minute and a half each


def lines(folder: Path, *, cores: set[int], events: int) -> Iterator[Line | str]:
    """Yield the line of four files of `events` events, on all `cores`.

    Programs start in about a second each and the first and last run alone: the files must be large
    for the workers to matter.
    """
    if len(cores) < 2:
        yield "two workers against one: left out, this process may use one core only."
        return
    place = folder / "workers"
    first = samples.npz(place, events)
    copies = [first.with_name(f"spacepoints_{number:03d}.npz") for number in range(1, FILES)]
    sources = [first, *(Path(shutil.copy(first, copy)) for copy in copies)]
    contest = Contest(
        what=f"cosmotron stage, {FILES} files, 2 workers",
        amount=FILES * events,
        unit="events",
        ours=_staging(place, sources, cores, workers=2),
        others={"1 worker": _staging(place, sources, cores, workers=1)},
        aims={"1 worker": 1.8},
    )
    yield from hold(contest, repeats=ROUNDS)


def _staging(place: Path, sources: list[Path], cores: set[int], *, workers: int) -> Work:
    numbers = count()

    def work() -> None:
        store = place / f"by-{workers}-{next(numbers)}.zarr"
        command = [sys.executable, "-m", "pipeline", "stage", str(store), *map(str, sources)]
        command += ["--neighbours", str(NEIGHBOURS), "--workers", str(workers)]
        pinned = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # the children's, too
        try:
            subprocess.run(command, check=True, capture_output=True)
        finally:
            os.sched_setaffinity(0, pinned)
        shutil.rmtree(store)
        shutil.rmtree(store.with_suffix(".staging"))

    return work
