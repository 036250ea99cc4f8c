"""Watch one training's chain of batch jobs to its end."""

from pathlib import Path

from pipeline.job import JobStatus, State
from pipeline.run import Exit, RunError, TaskFolder, read_json
from pipeline.workflow.desk import Desk
from pipeline.workflow.plan import Step

CONTINUES = (State.TIMEOUT, State.PREEMPTED, State.NODE_FAIL)
TAIL_LINES = 15
NOTHING = ("", 0)


class TaskError(RunError):
    """A task ended without its product; the message says why and where its log is."""

    def __init__(self, message: str, code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def chain(step: Step, desk: Desk) -> None:
    """Submit link after link until the task is done; adopt a link that is there already.

    Raises:
        TaskError: A link failed, or brought neither a new checkpoint nor a new part.
    """
    key = step.task.key
    folder = desk.plan.run.task(key)
    while True:
        if folder.is_done:
            return
        job = desk.plan.link(step, desk.next_number(key))
        is_adopted = any(each.job_key == job.key for each in desk.unended())
        before = None if is_adopted else _saved(folder)  # nobody saw where it began
        status = desk.wait(desk.submit(job, stage=step.task.stage, task_key=key))
        if folder.done.is_file():
            return
        if not _wants_more(status):
            raise TaskError(why(folder, job.log, _ended(status)))
        if _saved(folder) == (before or NOTHING):
            reason = f"{_ended(status)} without a new checkpoint; another link would waste hours"
            raise TaskError(why(folder, job.log, reason))


def _wants_more(status: JobStatus) -> bool:
    """Return whether a link ended in a way that the next one continues."""
    return status.exit_code == Exit.CONTINUE or status.state in CONTINUES


def _saved(folder: TaskFolder) -> tuple[str, int]:
    """Return the name of the newest checkpoint, and how many parts of the product are whole."""
    names = (path.name for path in folder.checkpoints.glob("step-*[0-9]"))
    return max(names, default=""), len(folder.finished_parts)


def _ended(status: JobStatus) -> str:
    """Return how a job ended, in words."""
    return f"job {status.id} ended {status.state} with exit code {status.exit_code}"


def why(folder: TaskFolder, log: Path, otherwise: str) -> str:
    """Return why a task failed: what it recorded itself, else how it ended and its last lines."""
    result = read_json(folder.result)
    if result is not None and "message" in result:
        return f"{result['message']} (log: {log})"
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n    ".join([f"{otherwise}. Its log, {log}, ends:", *lines])
