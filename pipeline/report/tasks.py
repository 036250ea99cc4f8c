"""Every task of a campaign as the run folder and the ledger show it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import records
from pipeline.budget.account import Account
from pipeline.campaign import Campaign, stored
from pipeline.catalog import DeclarationError
from pipeline.records import Ending, Part, Product, TaskProgress
from pipeline.report.reader import Reader
from pipeline.run import Run, TaskFolder

Table = Mapping[str, Any]
IN_PILOTS = ("simulate", "stage", "fetch", "features", "evaluate", "probe")


@dataclass(frozen=True)
class TaskView:
    """One task: what was asked, how far it is, what came out.

    `state` is "done", "failed", "running", "queued", "begun" (nobody works on it now) or
    "waiting". `declaration` is the resolved task. `ending` is how its last link ended, `result`
    what came out (one of `records.RESULTS`) once it is done; None where missing or damaged.
    `seconds` are those of its own jobs, or of one worker for all its parts; `node_hours` were
    charged for its own jobs, None where it has none.
    """

    key: str
    state: str
    progress: str
    message: str
    declaration: Table
    ending: Ending | None
    result: Product | None
    parts: tuple[Part, ...]
    folder: TaskFolder
    ran_at: str = ""
    seconds: float | None = None
    node_hours: float | None = None

    @property
    def stage(self) -> str:
        """The stage, the first half of the key."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """The name within the stage, the second half of the key."""
        return self.key.partition("/")[2]


def view_tasks(
    run: Run,
    campaign: Campaign,
    reader: Reader,
    accounts: Iterable[Account],
    *,
    optional: bool = False,
) -> list[TaskView]:
    """Return every task of the campaign, each after those it needs.

    With `optional` a dataset may have no sources here, since another machine stages it.
    """
    jobs: dict[str, list[Account]] = {}
    for account in accounts:
        jobs.setdefault(account.task, []).append(account)
    return [
        _view(run.task(task["key"]), task, reader, jobs.get(task["key"], []))
        for task in _declarations(run, campaign, reader, optional=optional)
    ]


def _declarations(run: Run, campaign: Campaign, reader: Reader, *, optional: bool) -> list[Table]:
    """Return the resolved tasks; those on disk alone where the sources are gone."""
    try:
        return [task.model_dump(mode="json") for task in campaign.tasks(run, optional=optional)]
    except DeclarationError as error:
        reader.problems.append(f"{error} Tasks that never began are not listed.")
        return [_declared(path) for path in run.of_campaign("task.toml")]


def _declared(path: Path) -> Table:
    """Return the task that `path` declares."""
    return stored.read_any(TaskFolder(path.parent)).model_dump(mode="json")


def _view(folder: TaskFolder, task: Table, reader: Reader, jobs: list[Account]) -> TaskView:
    """Return the view of one task."""
    kind = records.RESULTS[task["stage"]] if folder.is_done else Ending
    ending = reader.record(folder.result, kind)
    found = (reader.record(path, Part) for path in sorted(folder.finished_parts))
    parts = tuple(part for part in found if part is not None)
    state = _state(folder, ending, {job.state for job in jobs})
    return TaskView(
        key=task["key"],
        state=state,
        progress="" if state == "done" else _progress(task, parts, folder, reader),
        message=ending.message if ending is not None and state != "done" else "",
        declaration=task,
        ending=ending,
        result=ending if isinstance(ending, Product) else None,
        parts=parts,
        folder=folder,
        seconds=_seconds(parts, ending, jobs),
        node_hours=sum(job.charged_node_hours for job in jobs) or None,
    )


def _seconds(parts: tuple[Part, ...], ending: Ending | None, jobs: list[Account]) -> float | None:
    """Return the seconds of a task's own jobs; else of one worker for its parts, or for all."""
    seconds = float(sum(each.seconds for each in jobs))
    if seconds:
        return seconds
    times = [each.seconds for each in parts if each.seconds is not None]
    if not times and ending is not None and ending.seconds is not None:
        times = [ending.seconds]
    return sum(times) if times else None


def _state(folder: TaskFolder, ending: Ending | None, job_states: set[str]) -> str:
    """Return how far a task is, as `TaskView.state` says it."""
    if folder.is_done:
        return "done"
    if "running" in job_states:
        return "running"
    if job_states & {"submitted", "reserved"}:
        return "queued"
    if ending is not None and not ending.is_finished:
        return "failed"
    began = (folder.parts, folder.metrics, folder.progress)
    return "begun" if any(path.exists() for path in began) else "waiting"


def _progress(task: Table, parts: tuple[Part, ...], folder: TaskFolder, reader: Reader) -> str:
    """Return "done of total units" where it is known."""
    progress = reader.record(folder.progress, TaskProgress)
    if progress is not None:
        return f"{progress.done:,} of {progress.total:,} {progress.unit}"
    if task["stage"] == "simulate":
        return f"{len(parts)} of {sum(task['simulation']['files'].values())} files"
    if task["stage"] == "stage":
        return f"{len(parts)} of {sum(map(len, task['sources'].values()))} files"
    return ""


@dataclass(frozen=True)
class Share:
    """What one task took of the pilots: its parts, and the seconds of one worker for all."""

    key: str
    parts: int
    seconds: float


def shares(tasks: Iterable[TaskView]) -> list[Share]:
    """Return the share of each task that runs in pilots and says how long it took."""
    found = []
    for task in tasks:
        times = [each.seconds for each in task.parts if each.seconds is not None]
        if not task.parts and task.ending is not None and task.ending.seconds is not None:
            times = [task.ending.seconds]
        if times and task.stage in IN_PILOTS:
            found.append(Share(task.key, len(times), sum(times)))
    return found
