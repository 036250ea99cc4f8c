"""What of a run folder is worth keeping for years, and what can be made again or is of no use.

Kept is all that is not listed here: declarations, the ledger, records, metrics, weights, results,
logs, the page, the crate, copies of the code, and whatever the user put there.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import catalog
from pipeline.catalog import DeclarationError
from pipeline.leftovers import HIDDEN
from pipeline.release.archive_manifest import NAME, LeftOut
from pipeline.run import Run, TaskFolder

LARGE_LOG_BYTES = 32 << 20
STORE = ".zarr"
# Made by programs for themselves: who works where, bytecode, what Parsl says, files to be copied,
# parts of predictions until there are all of them.
FOR_A_TIME = frozenset(
    {"claim", "controller", "__pycache__", "parsl", "transfer", "predictions.parts"}
)
GONE = "nothing makes it again: copy it yourself if you want it"


@dataclass(frozen=True)
class Sorted:
    """The files of a run, below its folder: those to keep, and the others."""

    kept: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def sort_out(run: Run) -> Sorted:
    """Return which files of `run` are kept."""
    kept: list[str] = []
    left: list[LeftOut] = []
    branching = _branching(run)
    for where, folders, names in os.walk(run.path):
        folder = Path(where).relative_to(run.path)
        for name in sorted(folders):
            words = _reason(run, folder / name, branching)
            if words is not None:
                folders.remove(name)
                left += _left_out(run, folder / name, words)
        folders.sort()
        for name in sorted(names):
            words = _of_file(run, folder / name)
            if words is None:
                kept.append((folder / name).as_posix())
            else:
                left += _left_out(run, folder / name, words)
    return Sorted(tuple(kept), tuple(left))


Words = tuple[str, str]  # what it is, and how to have it again; both empty for what is of no use
NO_USE: Words = ("", "")


def _reason(run: Run, folder: Path, branching: frozenset[Path]) -> Words | None:
    """Return why a folder of the run is left out, None if it is not."""
    if (run.path / folder).is_symlink():
        return _link(run.path / folder)
    if folder.name in FOR_A_TIME or folder.suffix == ".claim" or HIDDEN.fullmatch(folder.name):
        return NO_USE
    parts, is_replaced = _parts(folder)
    if len(parts) != 3:
        return None
    if parts[0] == "data" and Path(parts[1]).suffix == STORE:
        return "shards of a store", _again(run, Path(parts[1]).stem, replaced=is_replaced)
    return _of_task(run, folder, branching, replaced=is_replaced)


def _of_task(run: Run, folder: Path, branching: frozenset[Path], *, replaced: bool) -> Words | None:
    """Return why a folder of a task is left out, None if it is not."""
    task, name = TaskFolder(run.path / folder.parent), folder.name
    stage = task.path.parent.name
    if name.startswith("fetch-"):
        return NO_USE
    if (stage, name) == ("simulate", "files"):
        return "simulated files", GONE if replaced else _by_run(f"{stage}/{task.path.name}")
    if name == task.profile.name:
        return "a trace of some steps", "cosmotron run --profile STEPS"
    if name == task.checkpoints.name and (replaced or _is_over(task, branching)):
        return "checkpoints of a finished training", "its weights are packed; only to train longer"
    return None


def _of_file(run: Run, file: Path) -> Words | None:
    """Return why a file of the run is left out, None if it is not."""
    path = run.path / file
    if path.is_symlink():
        return _link(path)
    is_temporary = HIDDEN.fullmatch(file.name) or file.suffix == ".claim"
    if is_temporary or not path.is_file() or file == Path(NAME):
        return NO_USE
    if "logs" in file.parts and path.stat().st_size > LARGE_LOG_BYTES:
        return "a log of more than 32 MiB", GONE
    return None


def _link(path: Path) -> Words:
    return f"a link to {path.readlink()}", "not followed: copy what it leads to, if you need it"


def _parts(folder: Path) -> tuple[tuple[str, ...], bool]:
    """Return the parts of a path in the run, or in what was replaced of it, and whether it was."""
    parts = folder.parts
    replaced = len(parts) > 2 and parts[0] == "replaced"
    return (parts[2:], True) if replaced else (parts, False)


def _again(run: Run, store: str, *, replaced: bool) -> str:
    """Return how to have a store again."""
    stages = ("stage", "fetch", "tokenize", "features")
    keys = (f"{stage}/{store}" for stage in stages)
    key = next((each for each in keys if run.task(each).path.is_dir()), "")
    return _by_run(key) if key and not replaced else GONE


def _by_run(key: str) -> str:
    return f"cosmotron run makes it again ({key}) if a task needs it"


def _is_over(task: TaskFolder, branching: frozenset[Path]) -> bool:
    """Whether nothing goes on from the checkpoints of a training."""
    return task.is_done and task.path.resolve() not in branching


def _branching(run: Run) -> frozenset[Path]:
    """Return the folders of trainings from which others, not finished, begin."""
    trunks = (
        Path(str(trunk).replace("<run>", str(run.path)))
        for task in map(TaskFolder, run.path.glob("pretrain/*"))
        if not task.is_done and (trunk := _trunk(task))
    )
    return frozenset(path.resolve() for path in trunks)


def _trunk(task: TaskFolder) -> Any:
    """Return the folder of the trunk that a training branches from, as declared; None for none."""
    try:
        return catalog.table(task.declaration).get("trunk", {}).get("folder")
    except DeclarationError:
        return None


def _left_out(run: Run, path: Path, words: Words) -> Iterator[LeftOut]:
    """Yield the entry of a file or folder that is left out, unless it is of no use."""
    what, again = words
    if not what:
        return
    sizes = [each.lstat().st_size for each in _files(run.path / path)]
    yield LeftOut(path=path.as_posix(), files=len(sizes), bytes=sum(sizes), what=what, again=again)


def _files(path: Path) -> list[Path]:
    """Return `path`, or the files in it."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [Path(where, name) for where, _, names in os.walk(path) for name in names]
