"""What a changed campaign means for its run: which tasks stay, go on, or are made again.

Nothing is removed: what is made again, and what was made of it, is moved to `replaced/` in the run
folder first. What depends goes before what it depends on, so a kill in between leaves nothing done
whose origin is not there.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import records
from pipeline.budget.ledger import Ledger
from pipeline.campaign import (
    FetchTask,
    PretrainTask,
    StageTask,
    Task,
    stored,
)
from pipeline.campaign.identity import Difference, differences, files_changed, still_known
from pipeline.campaign.lengthening import why_not
from pipeline.data.errors import BadInput
from pipeline.data.source import is_remote
from pipeline.data.store.manifest import read_manifest
from pipeline.job import number_of
from pipeline.masking import masked
from pipeline.outcome import RunError
from pipeline.planning import continued, products, recreated, shared_stores, unmarked
from pipeline.records import Beginning
from pipeline.run import Run, TaskFolder

Meaning = Literal[
    "the same", "goes on", "made again", "recreated", "missing", "new", "no longer asked"
]
TO_DO: tuple[Meaning, ...] = ("goes on", "made again", "recreated", "new")


@dataclass(frozen=True)
class Change:
    """What a campaign as it is now means for one task of its run.

    `differences` are the keys that decide the product and differ from what the folder was declared
    for; `since` is a task that it needs and whose product is replaced. `start` are the events seen
    at which a training goes on, where something else was made before; `remark` is why one of
    another length does not, or that of a finished task the marker alone is gone. `gone` is what is
    not on the disk any more of a product that is recreated, or missing.
    """

    key: str
    meaning: Meaning
    differences: tuple[Difference, ...] = ()
    since: str = ""
    start: int = 0
    remark: str = ""
    gone: recreated.Gone | None = None

    @property
    def replaces(self) -> bool:
        """Whether what the task has made is moved aside, whole or in part."""
        return self.meaning == "made again" or self.goes_on_changed

    @property
    def is_lost(self) -> bool:
        """Whether the task is as it was declared, and some of what it made is not on the disk."""
        return self.gone is not None or bool(self.remark and not self.differences)

    @property
    def goes_on_changed(self) -> bool:
        """Whether a training goes on from one of another length, or of another end."""
        return self.meaning == "goes on" and bool(self.differences)

    def __str__(self) -> str:
        """Return why, in words; empty where there is nothing to say."""
        if self.differences:
            why = ", ".join(map(str, self.differences))
            why += f"; from {self.start:,} events on" if self.goes_on_changed else ""
            return f"{why}; {self.remark}" if self.remark else why
        if self.gone is not None:
            return str(self.gone)
        return f"made of {self.since}, whose product is replaced" if self.since else self.remark


def compare(
    tasks: Sequence[Task], run: Run, chosen: Collection[str] | None = None
) -> dict[str, Change]:
    """Return what the campaign of `tasks` means for each task, and for each that it has no more.

    A product that is not on the disk any more is recreated if a task that is to be done reads it:
    of those of the keys `chosen`, if they are given. It is the same, and what was made of it stays.

    Raises:
        DeclarationError: The declaration of a task on disk is damaged, or of a later version.
    """
    found: dict[str, Change] = {}
    for task in tasks:  # each after those it needs
        again = [key for key in task.needs if key in found and _spoils(found[key], task)]
        found[task.key] = of_task(task, run.task(task.key), again)
    found |= _without_product(tasks, run, found, chosen)
    for path in run.of_campaign("task.toml"):
        key = "/".join(path.parts[-3:-1])
        found.setdefault(key, Change(key, "no longer asked"))
    return found


def _without_product(
    tasks: Sequence[Task], run: Run, found: Mapping[str, Change], chosen: Collection[str] | None
) -> dict[str, Change]:
    """Return the finished tasks whose products are not on the disk."""
    finished = {key for key, each in found.items() if each.meaning == "the same"}
    to_do = {key for key, each in found.items() if each.meaning in TO_DO}
    gone = recreated.gone(tasks, run, finished, to_do if chosen is None else to_do & {*chosen})
    return {
        key: Change(key, "recreated" if each.needed_by else "missing", gone=each)
        for key, each in gone.items()
    }


def check_sources(changes: Mapping[str, Change]) -> None:
    """Check that what is recreated has the files that it is made from.

    Raises:
        RunError: A source file is not on this machine.
    """
    recreated.check_sources({key: each.gone for key, each in changes.items() if each.gone})


def _spoils(needed: Change, task: Task) -> bool:
    """Return whether `task` is made again since a product that it needs is replaced.

    A branch begins at a checkpoint that its trunk passes again, or passed, bit for bit.
    """
    is_branch = isinstance(task, PretrainTask) and task.trunk is not None
    return needed.meaning == "made again" or (needed.goes_on_changed and not is_branch)


def of_task(task: Task, folder: TaskFolder, again: Sequence[str] = ()) -> Change:
    """Return what `task` means for its folder, where it needs the tasks `again` that are replaced.

    Raises:
        DeclarationError: The declaration in the folder is damaged, or of a later version.
    """
    if not folder.declaration.exists():
        return Change(task.key, "new")
    before = stored.read_any(folder)
    different = _different(before, task)
    if not made_something(before, folder):
        lost = "" if again or different else unmarked.remark(task, folder)
        return Change(task.key, "new", different, remark=lost)
    if again:
        return Change(task.key, "made again", different, since="" if different else again[0])
    return _of_changed(before, task, folder, different) if different else _of_same(task, folder)


def _different(before: Task, task: Task) -> tuple[Difference, ...]:
    """Return the keys and files by which `task` makes another product than `before`."""
    if before == task:
        return ()
    found = () if _has_moved(before, task) else differences(before, task)
    return (*found, *_files_changed(before, task))


def _of_same(task: Task, folder: TaskFolder) -> Change:
    """Return whether a task that is declared as it was is done, or goes on."""
    if folder.is_done:
        return Change(task.key, "the same")
    begun, lost = records.read(folder.beginning, Beginning), unmarked.remark(task, folder)
    return Change(task.key, "goes on", start=begun.events_seen if begun else 0, remark=lost)


def _of_changed(
    before: Task, task: Task, folder: TaskFolder, different: tuple[Difference, ...]
) -> Change:
    """Return whether a task whose declaration differs goes on, or is made again."""
    if continued.has_all_branches(before, task, folder, different):
        return Change(task.key, "the same")
    start = continued.start(before, task, folder, different)
    if start:
        return Change(task.key, "goes on", different, start=start)
    return Change(task.key, "made again", different, remark=why_not(before, task, different))


def begun(found: Mapping[str, Change], tasks: Iterable[Task]) -> dict[str, float]:
    """Return the share of its events of each training that goes on from what was made before."""
    ends = {task.key: continued.end_of(task) for task in tasks}
    return {
        key: each.start / ends[key] for key, each in found.items() if each.start and ends.get(key)
    }


def done_shares(found: Mapping[str, Change], tasks: Iterable[Task]) -> dict[str, float]:
    """Return how much is done of each task of which a part, or all, is replaced."""
    shares = begun(found, tasks)
    return {key: shares.get(key, 0.0) for key, each in found.items() if each.replaces}


def made_something(task: Task, folder: TaskFolder) -> bool:
    """Return whether the folder of `task` holds its product, or a part of it worth keeping."""
    stores = [path for path in _outside(task) if path.exists()]
    checkpoints = folder.checkpoints.glob("step-*[0-9]")
    return folder.is_done or bool(stores or folder.finished_parts) or any(checkpoints)


def _outside(task: Task) -> list[Path]:
    """Return what a task makes outside its own folder."""
    if not isinstance(task, products.STORING):
        return []
    return [task.store, task.store.with_name(f"{task.store.stem}.croissant.json")]


def _has_moved(before: Task, now: Task) -> bool:
    """Return whether a store that was fetched is at another address now, and the same."""
    if not isinstance(before, FetchTask) or not isinstance(now, FetchTask):
        return False
    return before.address != now.address and shared_stores.same_at(now.address, now.store)


def _files_changed(before: Task, now: Task) -> tuple[Difference, ...]:
    """Return the source files that came, and those that are left out and still there.

    None if the same files lie elsewhere now, or if they are not on this machine. A file that was
    staged and is not on the disk any more makes no difference: its events are in the store.
    """
    found = files_changed(before, now)
    if not found or not isinstance(before, StageTask) or not isinstance(now, StageTask):
        return ()
    here = all(is_remote(name) or _bytes(name) is not None for _, name in now.files)
    same = not here or _same_files(before, now) or _are_gone(found)
    return () if same else found


def _are_gone(found: Sequence[Difference]) -> bool:
    """Return whether all differences are files that were staged and are on the disk no more."""
    return all(each.now is None and _bytes(each.before) is None for each in found)


def _same_files(before: StageTask, now: StageTask) -> bool:
    """Return whether the files of `now` have the names, sizes and splits of those that were staged.

    Their contents were hashed then; hashing terabytes again for each plan would take hours.
    """
    try:
        manifest = read_manifest(before.store)
    except BadInput:
        return False  # nothing staged that could be kept
    bytes_of = {each.path: each.bytes for each in manifest.sources}
    old = sorted(
        (split, Path(name).name, bytes_of.get(masked(name), -1)) for split, name in before.files
    )
    return old == sorted((split, Path(name).name, _bytes(name)) for split, name in now.files)


def _bytes(name: str) -> int | None:
    """Return the size of a file, None where it is not on this machine."""
    try:
        return Path(name).stat().st_size
    except OSError:
        return None


def apply(changes: Mapping[str, Change], tasks: Sequence[Task], run: Run) -> Path | None:
    """Move what is replaced out of the way, and declare all `tasks` as they are now.

    Return the folder in which the former products are, None if nothing was moved. What is recreated
    is made where it was; of a training that begins anew the folder is moved.

    Raises:
        RunError: A task whose product is replaced is at work, or what is recreated has no sources.
    """
    check_sources(changes)
    lost = [task for task in tasks if changes[task.key].meaning == "recreated"]
    replaced = _replaced(changes, lost, run)
    last_jobs = _last_jobs([*replaced, *(task.key for task in lost)], run)
    aside, by_key = _next_aside(run), {task.key: task for task in tasks}
    for key in reversed(replaced):  # what depends on others comes after them
        begun = Beginning(events_seen=changes[key].start, last_job=last_jobs[key])
        if changes[key].goes_on_changed:
            continued.go_back(by_key[key], run.task(key), begun, aside / key)
        else:
            _set_aside(run, key, aside)
    _declare(tasks, lost, run)
    for key in replaced:
        if last_jobs[key] and not changes[key].goes_on_changed:
            records.write(run.task(key).beginning, Beginning(last_job=last_jobs[key]))
    return aside if replaced else None


def _declare(tasks: Sequence[Task], lost: Sequence[Task], run: Run) -> None:
    """Declare all `tasks` as they are now, those that are recreated as not done."""
    for task in lost:
        run.task(task.key).done.unlink(missing_ok=True)
    for task in tasks:
        declare_anew(task, run.task(task.key))


def _replaced(changes: Mapping[str, Change], lost: Sequence[Task], run: Run) -> list[str]:
    """Return the tasks whose folders are moved, or parts of them; trainings without weights too."""
    anew = [each.key for each in lost if not products.remade_in_place(each, run.task(each.key))]
    return [*anew, *(key for key, each in changes.items() if each.replaces)]


def declare_anew(task: Task, folder: TaskFolder) -> None:
    """Write `task` into its folder, which holds nothing made for another."""
    before = stored.read_any(folder) if folder.declaration.exists() else None
    if before is not None and _is_longer_trunk(before, task, folder):
        return
    if before is not None and not made_something(before, folder):
        shutil.rmtree(folder.parts, ignore_errors=True)  # notes on the files of then
    gone = before is not None and _are_gone(files_changed(before, task))
    if before is not None:
        task = still_known(before, task)
    if isinstance(before, StageTask) and isinstance(task, StageTask) and gone:
        task = task.model_copy(update={"sources": before.sources})  # what the store was made of
    if before != task:
        stored.write(folder, task)


def _is_longer_trunk(before: Task, task: Task, folder: TaskFolder) -> bool:
    """Return whether the folder holds a finished trunk that has all that `task` asks, and more."""
    found = differences(before, task)
    return bool(found) and continued.has_all_branches(before, task, folder, found)


def _last_jobs(keys: Sequence[str], run: Run) -> dict[str, int]:
    """Return the number of the last job of each of the tasks `keys`, 0 for none; all have ended.

    Raises:
        RunError: One has; the message says how to end it.
    """
    accounts = Ledger(run.ledger).of_tasks(keys)
    jobs = [
        f"{key} (job {each.job_id})"
        for key, of_task in accounts.items()
        for each in of_task
        if each.job_id and each.end is None
    ]
    if jobs:
        message = (
            f"{', '.join(jobs)}: the campaign was changed so that this is replaced, and it is at "
            f"work. End it first: cosmotron cancel {run.campaign}; or take the change back."
        )
        raise RunError(message)
    return {
        key: max((number_of(each.job_key) for each in of_task), default=0)
        for key, of_task in accounts.items()
    }


def _set_aside(run: Run, key: str, aside: Path) -> None:
    """Move the product of a task, then its folder, to the folder `aside`."""
    folder = run.task(key)
    for path in _moved(stored.read_any(folder), folder):
        to = aside / path.relative_to(run.path)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)


def _moved(task: Task, folder: TaskFolder) -> Iterator[Path]:
    """Yield what is moved of a task, its folder last: while that is there, the rest is not made."""
    yield from (path for path in _outside(task) if path.exists())
    yield folder.path


def _next_aside(run: Run) -> Path:
    """Return the folder for what is replaced now: `replaced/<number>`, in order of time."""
    numbers = [int(path.name) for path in run.replaced.glob("*") if path.name.isdigit()]
    return run.replaced / f"{max(numbers, default=0) + 1:03d}"
