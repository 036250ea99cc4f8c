"""Neighbours stored at staging or found in the loader: `python -m tests.benchmarks.neighbour_cost`.

What either costs a campaign of 81 runs, nine models on each of nine sizes of data, follows from
four measured numbers.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.data.loading import Loader, Reading
from pipeline.data.preparation.neighbours import later_neighbours
from pipeline.data.store import Store
from tests.benchmarks import samples
from tests.benchmarks.disk import size
from tests.benchmarks.neighbours import NEIGHBOURS, sorted_points

MODELS = 9
# One pass over each of d1 … d9, of which d9 = 10 M events holds all others.
EVENTS_OF_ALL_SIZES = 22_710_000
EVENTS_STORED = 10_000_000
BATCH = 64
WAYS = ("stored", "computed")


@dataclass(frozen=True)
class Cost:
    """What one event costs, with its neighbours stored and without, in seconds of one core."""

    points: float
    stage_s: dict[bool, float]
    stored_bytes: dict[bool, float]
    load_s: dict[bool, float]
    compute_s: float


def measured(folder: Path, *, events: int, repeats: int = 3) -> Cost:
    """Return the cost of an event, from `events` events, the median of `repeats`."""
    source = samples.npz(folder / "neighbour-cost", events)
    stage_s, stored_bytes, load_s = {}, {}, {}
    for stored, count in ((False, 0), (True, NEIGHBOURS)):
        stores: list[Store] = []

        def stage(count: int = count, stores: list[Store] = stores) -> None:
            place = folder / f"cost-{count}-{len(stores)}"
            stores.append(samples.stage(place, samples.task(place, source, neighbours=count)))

        stage_s[stored] = _seconds(stage, repeats) / events
        stored_bytes[stored] = size(stores[0].path) / events
        arrays = ("neighbours",) if stored else ()
        loader = Loader(
            stores[0],
            "train",
            Reading(arrays=arrays, lane_events=BATCH, epochs=1, memory_bytes=0),
        )
        load_s[stored] = _seconds(lambda loader=loader: _drain(loader), repeats) / events
    by_radius, normal = sorted_points(samples.events(events))
    computed = _seconds(lambda: later_neighbours(normal, by_radius.offsets, NEIGHBOURS), repeats)
    points = len(by_radius.points) / events
    return Cost(points, stage_s, stored_bytes, load_s, computed / events)


def campaign(cost: Cost, *, epochs: int) -> dict[str, dict[str, float]]:
    """Return core-hours and bytes of either way, for all runs reading every one of `epochs`."""
    read = EVENTS_OF_ALL_SIZES * MODELS * epochs
    seconds = {
        "stored": EVENTS_STORED * cost.stage_s[True] + read * cost.load_s[True],
        "computed": EVENTS_STORED * cost.stage_s[False]
        + read * (cost.load_s[False] + cost.compute_s),
    }
    return {
        way: {
            "core_hours": seconds[way] / 3600,
            "disk_gb": EVENTS_STORED * cost.stored_bytes[way == "stored"] / 1e9,
            "read_gb": read * cost.stored_bytes[way == "stored"] / 1e9,
        }
        for way in WAYS
    }


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of this process, all threads, after one round that counts nothing."""
    taken = []
    for _ in range(repeats + 1):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return sorted(taken[1:])[repeats // 2]


def _drain(loader: Loader) -> None:
    loader.seek(0)
    for _ in loader:
        pass


def tables(cost: Cost) -> list[Table]:
    """Return what was measured, and what follows of it for a campaign."""
    event = Table("an event of the sample", *WAYS, box=None, pad_edge=False)
    event.add_row("staging, ms", *(f"{1e3 * cost.stage_s[it]:.3f}" for it in (True, False)))
    event.add_row("on disk, kB", *(f"{cost.stored_bytes[it] / 1e3:.1f}" for it in (True, False)))
    event.add_row("loading, ms", *(f"{1e3 * cost.load_s[it]:.3f}" for it in (True, False)))
    event.add_row("computing in the loader, ms", "", f"{1e3 * cost.compute_s:.3f}")
    whole = Table("81 runs", "epochs", *WAYS, box=None, pad_edge=False)
    for epochs in (1, 10):
        ways = campaign(cost, epochs=epochs)
        for name, unit in (
            ("core_hours", "core-hours"),
            ("disk_gb", "GB on disk"),
            ("read_gb", "GB read"),
        ):
            whole.add_row(unit, str(epochs), *(f"{ways[way][name]:,.0f}" for way in WAYS))
    return [event, whole]


def main() -> None:
    """Measure on one core and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.neighbour_cost")
    parser.add_argument("--events", type=int, default=1000)
    asked = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        cost = measured(Path(folder), events=asked.events)
    console = Console(width=100)
    for table in tables(cost):
        console.print(table)
        console.print()
    console.print(
        f"k = {NEIGHBOURS}, {cost.points:.0f} points an event, {asked.events} events; one core, "
        f"process time. {EVENTS_STORED:,} events are stored; {EVENTS_OF_ALL_SIZES:,} are read by "
        f"each of {MODELS} models in an epoch of all sizes of data.",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
