"""Whether the datasets have as many events as tasks ask for, before anything is submitted.

A staged store knows its events; of one that is to be staged of simulated files their number is
declared, and staging may reject some. Of other files nothing is known yet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.campaign import FeaturesTask, SimulateTask, StageTask, Task, TokenizeTask
from pipeline.planning.products import STORING
from pipeline.planning.selection import Part
from pipeline.planning.truth import manifest_of

Wanted = dict[tuple[Path, str], list[tuple[int, str]]]  # of a split: how many events, and by whom


@dataclass(frozen=True)
class Known:
    """The events of each split, or the most that it can have, and where that number is from."""

    source: str
    events: Mapping[str, int]
    words: str = "has"


def too_few(part: Part) -> Iterator[str]:
    """Yield a line for each split with fewer events than tasks that are to be done ask for."""
    to_do = {task.key for task in part.to_do}
    for (store, split), requests in _wanted(part.to_do).items():
        known = _known(store, part.every_task, to_do)
        if known is None:
            continue
        has = known.events.get(split, 0)
        short = [(count, key) for count, key in requests if count > has]
        if short:
            most, first = max(short, key=lambda each: each[0])
            others = f" and {len(short) - 1} more" if len(short) > 1 else ""
            yield (
                f"{first}{others}: {most:,} events of split {split!r} are asked for, and "
                f"{known.source} {known.words} {has:,}. Ask for fewer, or add files to the dataset."
            )


def _wanted(tasks: Sequence[Task]) -> Wanted:
    """Return how many events each task asks for, of each split that it reads; 1 for all."""
    found: Wanted = {}
    for task in tasks:
        store = task.jets if isinstance(task, TokenizeTask) else getattr(task, "store", None)
        if store is None or not hasattr(task, "split"):
            continue
        count = getattr(task, "labels", None) or getattr(task, "events", None) or 1
        found.setdefault((store, task.split), []).append((count, task.key))
        validation = getattr(task, "validation", None)
        if validation is not None:
            requests = found.setdefault((store, validation.split), [])
            requests.append((validation.events, task.key))
    return found


def _known(store: Path, tasks: Sequence[Task], to_do: set[str]) -> Known | None:
    """Return what is known of the events of a store, None for nothing."""
    maker = next(
        (each for each in tasks if isinstance(each, STORING) and each.store == store), None
    )
    if maker is None or maker.key not in to_do:
        manifest = manifest_of(store)
        return Known(str(store), manifest.events) if manifest is not None else None
    if isinstance(maker, TokenizeTask | FeaturesTask):
        origin = maker.jets if isinstance(maker, TokenizeTask) else maker.source
        return _known(origin, tasks, to_do)
    return _simulated(maker, tasks) if isinstance(maker, StageTask) else None


def _simulated(task: StageTask, tasks: Sequence[Task]) -> Known | None:
    """Return the most events that a store of simulated files can have, None for other files."""
    name = task.dataset.simulation
    key = f"simulate/{name}"
    maker = next((each for each in tasks if each.key == key), None)
    if not isinstance(maker, SimulateTask):
        return None
    made = maker.simulation
    events = {split: count * made.events_per_file for split, count in made.files.items()}
    if task.dataset.fractions:  # each split may get any of them
        events = dict.fromkeys(task.dataset.fractions, sum(events.values()))
    return Known(f"simulations.{name}", events, "makes at most")
