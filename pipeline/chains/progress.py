"""The progress of each task, from the run folder alone: no controller need be alive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline import claims, records
from pipeline.campaign import CHAINED, PredictTask, SimulateTask, StageTask, Task
from pipeline.job import number_of
from pipeline.outcome import RunError
from pipeline.pace import Pace, links, pace
from pipeline.records import Ending, TaskProgress
from pipeline.run import Run, TaskFolder

TaskState = Literal["done", "running", "queued", "failed", "waiting"]


@dataclass(frozen=True)
class Progress:
    """The progress of one task: its state, the finished share, and a note.

    A "queued" task has a batch job that has not begun; a "waiting" one was not submitted. Of a job
    `job_id` that does not run, `reason` is why, in the scheduler's words; `advice` is what the user
    can do, and `is_stuck` whether it never starts otherwise.
    """

    key: str
    state: TaskState
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""
    pace: Pace | None = None
    job_id: str = ""
    reason: str = ""
    advice: str = ""
    is_stuck: bool = False


def progress(task: Task, run: Run) -> Progress:
    """Return the progress of `task`."""
    folder = run.task(task.key)
    found = _progress(task, folder)
    if not isinstance(task, CHAINED):
        return found
    found_pace = pace(folder, done=found.done, total=found.total)
    if found_pace is not None and found.state != "running":
        found_pace = replace(found_pace, eta_seconds=None, heartbeat_age_seconds=None)
    return replace(found, pace=found_pace)


def _progress(task: Task, folder: TaskFolder) -> Progress:
    done, total, unit = _counts(task, folder)
    if folder.is_done:
        return Progress(task.key, "done", total, total, unit, _summary(folder))
    result = records.read(folder.result, Ending)
    if result is not None and not result.is_finished:
        return Progress(task.key, "failed", done, total, unit, result.message)
    if _is_queued(folder):
        return Progress(task.key, "queued", done, total, unit)
    running = done > 0 or folder.logs.exists()
    return Progress(task.key, "running" if running else "waiting", done, total, unit)


def over(tasks: Sequence[Task], rows: Sequence[Progress]) -> bool:
    """Return whether every task is done, has failed, or needs one that failed.

    Each task must come after those it needs.
    """
    ended = {row.key: row.state == "done" for row in rows if row.state in ("done", "failed")}
    for task in tasks:
        if task.key not in ended and any(ended.get(key) is False for key in task.needs):
            ended[task.key] = False
    return len(ended) == len(tasks)


def _is_queued(folder: TaskFolder) -> bool:
    """Return whether the newest batch script of a chain was submitted and has not begun.

    It has begun if it printed something, its program claimed the task, or its link made a step.
    """
    newest = max(folder.logs.glob("*.sbatch"), key=lambda path: number_of(path.stem), default=None)
    if newest is None:
        return False
    log = newest.with_suffix(".log")
    printed = log.exists() and log.stat().st_size > 0
    claim = claims.newest(folder.claim)
    claimant = claim.claimant if claim is not None else None
    claimed = claimant is not None and claimant.work == newest.stem
    stepped = any(record.key == newest.stem for record in links(folder))
    return not (printed or claimed or stepped)


def all_progress(tasks: Sequence[Task], run: Run) -> list[Progress]:
    """Return the progress of every task, in the campaign's order."""
    return [progress(task, run) for task in tasks]


def _counts(task: Task, folder: TaskFolder) -> tuple[int, int, str]:
    """Return (done, total, unit) of a task."""
    if isinstance(task, SimulateTask | StageTask | PredictTask):
        return len(folder.finished_parts), len(task.files), "files"
    try:
        found = records.read(folder.progress, TaskProgress)
    except RunError:
        found = None
    return (found.done, found.total, found.unit) if found is not None else (0, 0, "")


def _summary(folder: TaskFolder) -> str:
    """Return the most important numbers of a finished task, "" where its result has none."""
    try:
        result = records.read(folder.result, records.RESULTS[folder.path.parent.name])
    except RunError:  # a rehearsal's results say how long the work took, and no more
        return ""
    return "" if result is None else result.summary
