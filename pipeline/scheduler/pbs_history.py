"""What `qstat -x -f -F json` prints, read into job statuses."""

import json
import re
import time
from typing import Any

from pipeline.job import JobStatus, State
from pipeline.scheduler.interface import SchedulerError
from pipeline.scheduler.pbs_reasons import SUSPENDED, TABLE, reason_of
from pipeline.scheduler.reasons import explained
from pipeline.scheduler.rows import Row

# Job states: PBS Professional 2022.1 Reference Guide, "Job States"
STATES = {
    "B": State.RUNNING,  # an array that has begun
    "E": State.RUNNING,  # exiting
    "H": State.PENDING,
    "M": State.PENDING,  # moved to another server
    "Q": State.PENDING,
    "R": State.RUNNING,
    "S": State.SUSPENDED,  # by the server
    "T": State.PENDING,
    "U": State.SUSPENDED,  # because somebody uses the machine
    "W": State.PENDING,
}
OVER = ("F", "X")
# Exit statuses below zero, where PBS itself ended a job, and the substate of one that somebody
# deleted: openpbs, src/include/job.h. All other exit statuses below zero are failures.
ENDS = {
    -29: State.TIMEOUT,
    **dict.fromkeys((-26, -27), State.OUT_OF_MEMORY),
    **dict.fromkeys((-3, -4, -5, -6, -20, -30), State.NODE_FAIL),
}
DELETED = 91
DELETED_BY = re.compile(r"terminated by ([^@\s]+)")
SIGNALLED = 256
CLOCK = "%a %b %d %H:%M:%S %Y"


def from_history(text: str) -> list[Row]:
    """Return a row for each job; without a job there is no "Jobs" at all.

    Raises:
        SchedulerError: It is not what qstat prints.
    """
    try:
        jobs = json.loads(text, strict=False).get("Jobs", {})
        return [Row(_status(id_, job), _time(job.get("ctime"))) for id_, job in jobs.items()]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        message = f"qstat printed what cannot be read ({error}): {text[:200]!r}"
        raise SchedulerError(message) from error


def _status(id_: str, job: dict[str, Any]) -> JobStatus:
    state = _state(job)
    began = _time(job.get("stime"))
    seconds = _seconds(job.get("resources_used", {}).get("walltime", "00:00:00"))
    ended = _time(job.get("obittime")) or (None if began is None else began + seconds)
    over = ended if state.is_over else None
    suspended = over - began - seconds if over is not None and began is not None else 0
    status = JobStatus(
        id=id_,
        key=job["Job_Name"],
        state=state,
        nodes=float(job.get("Resource_List", {}).get("nodect", 0)),
        seconds=seconds,
        start=began,
        end=over,
        node_names=job.get("exec_host", ""),
        exit_code=_exit_code(job.get("Exit_status"), state),
        suspended_seconds=max(0, suspended),
    )
    if state is State.PENDING:
        return explained(status, reason_of(job), TABLE)
    return explained(status, "suspended", SUSPENDED) if state is State.SUSPENDED else status


def _state(job: dict[str, Any]) -> State:
    """Return the state; of a job that is over, by who or what ended it."""
    letter, code = job["job_state"], job.get("Exit_status")
    if letter not in OVER:
        return STATES.get(letter, State.UNKNOWN)
    if job.get("substate") == DELETED:
        return _deleted(job)
    if code is None:
        return State.CANCELLED  # it never began
    if code < 0:
        return ENDS.get(code, State.FAILED)
    if code > SIGNALLED and _had_its_time(job):
        return State.TIMEOUT  # as PBS said before it had a word for that
    return State.FAILED if code else State.COMPLETED


def _deleted(job: dict[str, Any]) -> State:
    """Return how a job ended that was deleted: by its owner, or to make room for another.

    PBS adds to the comment who it was (openpbs, update_job_finish_comment).
    """
    by = DELETED_BY.search(job.get("comment", ""))
    owner = job.get("Job_Owner", "").partition("@")[0]
    return State.PREEMPTED if by and by[1] != owner else State.CANCELLED


def _had_its_time(job: dict[str, Any]) -> bool:
    requested = job.get("Resource_List", {}).get("walltime")
    used = job.get("resources_used", {}).get("walltime")
    return bool(requested and used) and _seconds(used) >= _seconds(requested)


def _exit_code(code: int | None, state: State) -> int | None:
    """Return the exit code as a shell has it; None for a job that was ended from outside."""
    if code is None or code < 0 or state not in (State.COMPLETED, State.FAILED):
        return None
    return code if code < SIGNALLED else 128 + code - SIGNALLED


def _seconds(text: str) -> int:
    """Return the seconds in "HH:MM:SS"."""
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds)


def _time(text: str | None) -> int | None:
    """Return seconds since 1970, None for a time that is not there."""
    return int(time.mktime(time.strptime(text, CLOCK))) if text else None
