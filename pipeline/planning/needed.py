"""The files that a campaign still reads, and when a scratch file system removes each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.campaign import StageTask, Task
from pipeline.data.source import is_remote
from pipeline.planning import products
from pipeline.planning.misuse import file_system
from pipeline.planning.selection import Part
from pipeline.run import Run, TaskFolder
from pipeline.site import Site

DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Needed:
    """The files of one product that `reader`, a task that is to be done, reads.

    `made_by` is the task that made them, or the reader itself for its checkpoints and sources.
    `lost` are those that are not there.
    """

    made_by: str
    reader: str
    files: tuple[Path, ...]
    lost: tuple[Path, ...]


@dataclass(frozen=True)
class Purge:
    """Files that are removed unless they are read: from `date` on, in seconds since 1970.

    `days` is how long after the last use of a file that is, on the file system `name`.
    """

    needed: Needed
    name: str
    days: int
    date: float
    bytes: int


def needed(part: Part, run: Run) -> list[Needed]:
    """Return what the tasks of `part` that are to be done read, each product once."""
    makers = products.makers(part.every_task)
    by_key = {task.key: task for task in part.every_task}
    found: dict[str, Needed] = {}
    for task in part.to_do:
        for key in products.reads(task, makers):
            if run.task(key).is_done and key not in found:
                found[key] = _of(key, task.key, products.files(by_key[key], run.task(key)))
        for store in products.stores_read(task):
            if store not in makers and str(store) not in found:
                found[str(store)] = _of(str(store), task.key, products.of_store(store))
        mine = [*_checkpoint(run.task(task.key)), *_sources(task)]
        if mine:
            found[task.key] = _of(task.key, task.key, mine)
    return list(found.values())


def _of(made_by: str, reader: str, paths: Sequence[Path]) -> Needed:
    """Return the files `paths`, folders with all that is in them."""
    files = [file for path in paths for file in _files(path)]
    lost = tuple(path for path in paths if not path.exists())
    return Needed(made_by, reader, tuple(files), lost)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (each for each in sorted(path.rglob("*")) if each.is_file())
    elif path.exists():
        yield path


def _checkpoint(folder: TaskFolder) -> list[Path]:
    """Return the newest checkpoint of a training that has begun."""
    return sorted(folder.checkpoints.glob("step-*[0-9]"))[-1:]


def _sources(task: Task) -> list[Path]:
    """Return the files of a staging that are on this machine, but those that are simulated."""
    if not isinstance(task, StageTask) or task.dataset.simulation:
        return []
    names = (name for _, name in task.files if not is_remote(name))
    return [path for path in map(Path, names) if path.exists()]


def purges(found: Sequence[Needed], site: Site) -> list[Purge]:
    """Return those of the files `found` that `site` removes some day, the first date of each."""
    purged = []
    for each in found:
        there = file_system(site, each.files[0].absolute()) if each.files else None
        if there is not None and there[1].purge_days is not None:
            stats = [path.stat() for path in each.files]
            oldest = min(max(stat.st_atime, stat.st_mtime) for stat in stats)
            date = oldest + there[1].purge_days * DAY_SECONDS
            size = sum(stat.st_size for stat in stats)
            purged.append(Purge(each, there[0], there[1].purge_days, date, size))
    return purged
