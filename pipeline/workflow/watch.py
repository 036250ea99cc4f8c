"""Watch one training's chain of batch jobs to its end."""

from pathlib import Path

from pipeline.campaign import too_big
from pipeline.job import JobStatus, State
from pipeline.run import CODES, Exit, RunError, TaskFolder, read_json
from pipeline.workflow import history, policy, stops
from pipeline.workflow.desk import Desk
from pipeline.workflow.history import Link
from pipeline.workflow.plan import Step
from pipeline.workflow.silence import Silence

TAIL_LINES = 15
NOTHING = ("", 0)


class TaskError(RunError):
    """A task ended without its product; the message says why and where its log is."""

    def __init__(self, message: str, code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def chain(step: Step, desk: Desk) -> None:
    """Submit link after link until the task is done; adopt a link that is there already.

    What ended while no controller watched is judged as if one had, but that somebody cancelled it.

    Raises:
        TaskError: A link ended in a way that no other continues, the chain makes no progress, or
            somebody ordered it to stop.
    """
    folder = desk.plan.run.task(step.task.key)
    while not folder.is_done:
        links = history.read(folder)
        if not links or not links[-1].is_open:
            _check_may_begin(step, desk)
            links.append(_next(step, desk))
            history.write(folder, links)
        link = links.pop()
        status = _watched(step, desk, link)
        if folder.done.is_file():
            break
        if status is not None:
            links.append(_judged(step, desk, link, status))
        history.write(folder, links)
        reason = policy.ends(history.ends(links)) if status is not None else ""
        if status is not None and reason:
            folder.chain.unlink()  # who asks again after this has mended the cause
            raise _error(step, desk, links[-1], status, reason)
    folder.chain.unlink(missing_ok=True)


def _check_may_begin(step: Step, desk: Desk) -> None:
    """Check that another link may be submitted.

    Raises:
        TaskError: Somebody ordered the task or the run to stop, or the training has diverged.
    """
    order = stops.standing(desk.plan.run, step.task.key)
    if order:
        raise TaskError(order)
    folder = desk.plan.run.task(step.task.key)
    result = read_json(folder.result)
    if result is None or result["outcome"] == "finished":
        return
    if result["outcome"] == "diverged":
        message = (
            f"diverged: {result['message']} Its links would diverge again, so none is submitted: "
            f"remove {folder.path} to begin again, or {folder.result.name} there to go on."
        )
        raise TaskError(message, Exit.DIVERGED)
    folder.result.unlink()  # what an earlier link recorded is not the next one's


def _next(step: Step, desk: Desk) -> Link:
    """Return the chain's next link; of one that is there already nobody saw where it began."""
    number = desk.next_number(step.task.key)
    job = desk.plan.link(step, number)
    is_there = any(each.job_key == job.key for each in desk.unended())
    return Link(number, NOTHING if is_there else _saved(desk.plan.run.task(step.task.key)))


def _watched(step: Step, desk: Desk, link: Link) -> JobStatus | None:
    """Return how the job of `link` ended; None if it was cancelled while nobody watched."""
    job = desk.plan.link(step, link.number)
    known = desk.ledger.accounts().get(job.key)
    if known is None or known.end is None:
        job_id = desk.submit(job, stage=step.task.stage, task_key=step.task.key)
        return desk.wait(job_id, is_lost=_silence(step, desk, link))
    status = desk.wait(known.job_id)
    return None if status.state is State.CANCELLED else status


def _silence(step: Step, desk: Desk, link: Link) -> Silence:
    seconds = step.task.training.hang_seconds  # type: ignore[union-attr] # only trainings are chained
    key = desk.plan.link(step, link.number).key
    return Silence(desk.plan.run.task(step.task.key), key, seconds)


def _judged(step: Step, desk: Desk, link: Link, status: JobStatus) -> Link:
    """Return `link` with the class of its end, and whether it brought the task on."""
    folder = desk.plan.run.task(step.task.key)
    hung = _silence(step, desk, link).was_long(status)
    outcome = policy.outcome(status, read_json(folder.result), hung=hung)
    return link.ended(outcome, progressed=_saved(folder) != link.before)


def _error(step: Step, desk: Desk, link: Link, status: JobStatus, reason: str) -> TaskError:
    """Return the end of a chain: its class, and what is known of it."""
    ended = f"job {status.id} ended {status.state} with exit code {status.exit_code}"
    if link.outcome == "out_of_memory":
        ended += f". {too_big(step.task, step.nodes * step.processes_per_node)}".rstrip(".")
    log = desk.plan.link(step, link.number).log
    told = why(desk.plan.run.task(step.task.key), log, ended)
    return TaskError(f"{reason}: {told}", CODES.get(link.outcome, Exit.FAILED))


def _saved(folder: TaskFolder) -> tuple[str, int]:
    """Return the name of the newest checkpoint, and how many parts of the product are whole."""
    names = (path.name for path in folder.checkpoints.glob("step-*[0-9]"))
    return max(names, default=""), len(folder.finished_parts)


def why(folder: TaskFolder, log: Path, otherwise: str) -> str:
    """Return why a task failed: what it recorded itself, else how it ended and its last lines."""
    result = read_json(folder.result)
    if result is not None and "message" in result:
        return f"{result['message']} (log: {log})"
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n    ".join([f"{otherwise}. Its log, {log}, ends:", *lines])
