"""How a link ended and whether another follows: said by a controller, or by the links."""

from pathlib import Path

from pipeline.campaign import too_big
from pipeline.chains import history, node_exclusion, retry, stop_requests
from pipeline.chains.history import Link, Over
from pipeline.chains.job_manager import Desk
from pipeline.chains.liveness import Silence
from pipeline.job import JobStatus
from pipeline.planning.plan import Step
from pipeline.run import TaskFolder, read_json

TAIL_LINES = 15


def saved(folder: TaskFolder) -> tuple[str, int]:
    """Return the name of the newest checkpoint, and how many parts of the product are whole."""
    names = (path.name for path in folder.checkpoints.glob("step-*[0-9]"))
    return max(names, default=""), len(folder.finished_parts)


def silence(step: Step, desk: Desk, number: int) -> Silence:
    """Return what notices that link `number` has gone silent."""
    seconds = step.task.training.hang_seconds  # type: ignore[union-attr] # only trainings are chained
    return Silence(desk.plan.run.task(step.task.key), desk.plan.link(step, number).key, seconds)


def judge(step: Step, desk: Desk, link: Link, status: JobStatus) -> Over | None:
    """Note how the job of `link` ended; return why its chain is over, None if another is to follow.

    Whoever judges first is believed by all others.
    """
    folder = desk.plan.run.task(step.task.key)
    hung = silence(step, desk, link.number).was_long(status)
    outcome = retry.outcome(status, read_json(folder.result), hung=hung)
    first = history.end(folder, link.number, outcome, progressed=saved(folder) != link.before)
    if first and outcome in node_exclusion.ELSEWHERE:
        nodes = desk.scheduler.hosts(status.node_names)
        node_exclusion.note(desk.plan.run, status.id, outcome, nodes)
    return verdict(step, desk, status)


def verdict(step: Step, desk: Desk, status: JobStatus | None = None) -> Over | None:
    """Return why the chain is over, None if another link is to follow; it is noted for all."""
    folder = desk.plan.run.task(step.task.key)
    links = history.read(folder)
    ends = history.ends(links)
    if not ends:
        return None
    reason = retry.ends(ends) or retry.too_many(ends, at_most=step.most_links)
    if not reason:
        return None
    last = links[-1]
    told = _told(step, desk, last, status)
    history.close(folder, Over(last.number, reason, last.outcome, told))
    return history.over(folder)


def diverged(folder: TaskFolder) -> str:
    """Return what to tell of a training that has diverged, empty if it has not."""
    result = read_json(folder.result)
    if result is None or result["outcome"] != "diverged":
        return ""
    return (
        f"diverged: {result['message']} It would diverge again, so it is not submitted: remove "
        f"{folder.path} to begin again, or {folder.result.name} there to go on."
    )


def forbidden(step: Step, desk: Desk) -> str:
    """Return the order of somebody that no link be submitted, empty if there is none."""
    return stop_requests.standing(desk.plan.run, step.task.key)


def _told(step: Step, desk: Desk, link: Link, status: JobStatus | None) -> str:
    """Return what is known of a chain's last link: its own word, or how it ended and its log."""
    ended = f"link {link.number} ended"
    if status is not None:
        ended = f"job {status.id} ended {status.state} with exit code {status.exit_code}"
    if link.outcome == "out_of_memory":
        ended += f". {too_big(step.task, step.nodes * step.processes_per_node)}".rstrip(".")
    log = desk.plan.link(step, link.number).log
    return why(desk.plan.run.task(step.task.key), log, ended)


def why(folder: TaskFolder, log: Path, otherwise: str) -> str:
    """Return why a task failed: what it recorded itself, else how it ended and its last lines."""
    result = read_json(folder.result)
    if result is not None and "message" in result:
        return f"{result['message']} (log: {log})"
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n    ".join([f"{otherwise}. Its log, {log}, ends:", *lines])
