"""The life of a link: its outcome is recorded, and the chain goes on or ends.

A controller and the links themselves call this, each for itself; the first record counts.
"""

from pathlib import Path

from pipeline import records
from pipeline.campaign import too_big
from pipeline.chains import history, node_exclusion, retry, stop_requests
from pipeline.chains.history import Link, Over
from pipeline.chains.job_manager import JobManager
from pipeline.chains.liveness import Liveness
from pipeline.job import JobStatus
from pipeline.lines import tail
from pipeline.outcome import named
from pipeline.planning.plan import Step
from pipeline.records import Ending
from pipeline.run import TaskFolder

TAIL_LINES = 15


def saved(folder: TaskFolder) -> tuple[str, int]:
    """Return the name of the newest checkpoint, and how many parts of the product are whole."""
    names = (path.name for path in folder.checkpoints.glob("step-*[0-9]"))
    return max(names, default=""), len(folder.finished_parts)


def liveness(step: Step, manager: JobManager, number: int) -> Liveness:
    """Return what watches the heartbeat of link `number`."""
    seconds = step.task.training.hang_seconds  # type: ignore[union-attr] # only trainings are chained
    return Liveness(
        manager.plan.run.task(step.task.key), manager.plan.link(step, number).key, seconds
    )


def record_end(step: Step, manager: JobManager, link: Link, status: JobStatus) -> Over | None:
    """Record the outcome of `link`; return why its chain is over, None if another link follows."""
    folder = manager.plan.run.task(step.task.key)
    hung = liveness(step, manager, link.number).was_lost(status)
    result = records.read(folder.result, Ending)
    outcome = retry.outcome_of(status, result.outcome if result else "", hung=hung)
    first = history.end(folder, link.number, outcome, progressed=saved(folder) != link.before)
    if first and named(outcome).elsewhere:
        nodes = manager.scheduler.hosts(status.node_names)
        node_exclusion.note(manager.plan.run, status.id, outcome, nodes)
    return end_of_chain(step, manager, status)


def end_of_chain(step: Step, manager: JobManager, status: JobStatus | None = None) -> Over | None:
    """Return why the chain is over, which is recorded; None if another link follows."""
    folder = manager.plan.run.task(step.task.key)
    links = history.read(folder)
    ended = history.ended(links)
    if not ended:
        return None
    reason = retry.reason_to_end(ended) or retry.over_limit(ended, at_most=step.most_links)
    if not reason:
        return None
    last = links[-1]
    message = _message(step, manager, last, status)
    history.close(folder, Over(last.number, reason, last.outcome, message))
    return history.over(folder)


def diverged(folder: TaskFolder) -> str:
    """Return the message of a training that has diverged, empty if it has not."""
    result = records.read(folder.result, Ending)
    if result is None or result.outcome != "diverged":
        return ""
    return (
        f"diverged: {result.message} It would diverge again, so it is not submitted: remove "
        f"{folder.path} to begin again, or {folder.result.name} there to go on."
    )


def stop_request(step: Step, manager: JobManager) -> str:
    """Return the stop request that keeps the next link from the queue, empty if there is none."""
    return stop_requests.message(manager.plan.run, step.task.key)


def _message(step: Step, manager: JobManager, link: Link, status: JobStatus | None) -> str:
    """Return what is known of a chain's last link: its own message, or how it ended and its log."""
    ended = f"link {link.number} ended"
    if status is not None:
        ended = f"job {status.id} ended {status.state} with exit code {status.exit_code}"
        ended += f" ({status.reason})" if status.reason else ""
    if link.outcome == "out_of_memory":
        ended += f". {too_big(step.task, step.nodes * step.processes_per_node)}".rstrip(".")
    log = manager.plan.link(step, link.number).log
    return why(manager.plan.run.task(step.task.key), log, ended)


def why(folder: TaskFolder, log: Path, otherwise: str) -> str:
    """Return why a task failed: its recorded message, else how it ended and the end of its log."""
    result = records.read(folder.result, Ending)
    if result is not None and result.message:
        return f"{result.message} (log: {log})"
    return with_log(otherwise, log)


def with_log(message: str, log: Path) -> str:
    """Return `message`, followed by the end of `log`."""
    lines = tail(log, TAIL_LINES)[0].splitlines() if log.exists() else []
    return "\n    ".join([f"{message}. Its log, {log}, ends:", *lines])
