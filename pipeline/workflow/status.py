"""How far each task is, from the run folder alone: no controller need be alive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.campaign import Task
from pipeline.run import Run, RunError, TaskFolder, read_json

TaskState = Literal["done", "running", "failed", "waiting"]


@dataclass(frozen=True)
class Progress:
    """One task: its state, how much of it is done, and a word on it."""

    key: str
    state: TaskState
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""


def progress(task: Task, run: Run) -> Progress:
    """Return how far `task` is."""
    folder = run.task(task.key)
    done, total, unit = _counts(task, folder)
    if folder.is_done:
        return Progress(task.key, "done", total, total, unit, _summary(folder))
    result = read_json(folder.result)
    if result is not None and result.get("outcome") != "finished":
        return Progress(task.key, "failed", done, total, unit, str(result.get("message", "")))
    running = done > 0 or folder.logs.exists()
    return Progress(task.key, "running" if running else "waiting", done, total, unit)


def all_progress(tasks: Sequence[Task], run: Run) -> list[Progress]:
    """Return how far every task is, in the campaign's order."""
    return [progress(task, run) for task in tasks]


def _counts(task: Task, folder: TaskFolder) -> tuple[int, int, str]:
    """Return (done, total, unit) of a task."""
    if task.stage in ("simulate", "stage"):
        return len(folder.finished_parts), len(task.files), "files"
    try:
        told = read_json(folder.progress)
    except RunError:
        told = None
    if told is None:
        return 0, 0, ""
    return int(told["done"]), int(told["total"]), str(told["unit"])


def _summary(folder: TaskFolder) -> str:
    """Return what matters most of a finished task's result."""
    result = read_json(folder.result) or {}
    events = result.get("events")
    words = {
        "ari": "ARI {:.3f}",
        "loss": "loss {:.4f}",
        "mean_points": "{:.0f} points",
        "mean_tracks": "{:.1f} tracks",
    }
    told = [word.format(result[key]) for key, word in words.items() if result.get(key) is not None]
    counted = sum(events.values()) if isinstance(events, dict) else events
    each = " an event" if "mean_points" in result else ""
    return ", ".join([*([f"{counted:,} events"] if counted is not None else []), *told]) + each
