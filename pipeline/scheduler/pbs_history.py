"""What `qstat -x -f -F json` prints, read into job statuses."""

import json
import time
from typing import Any

from pipeline.job import JobStatus, State
from pipeline.scheduler.interface import SchedulerError

# Job states: PBS Professional 2022.1 Reference Guide, "Job States"
STATES = {
    "B": State.RUNNING,  # an array that has begun
    "E": State.RUNNING,  # exiting
    "H": State.PENDING,
    "M": State.PENDING,  # moved to another server
    "Q": State.PENDING,
    "R": State.RUNNING,
    "S": State.RUNNING,  # suspended by the server
    "T": State.PENDING,
    "U": State.RUNNING,  # suspended because somebody uses the machine
    "W": State.PENDING,
}
OVER = ("F", "X")
# Exit statuses below zero: openpbs, src/include/job.h
ENDS = {-29: State.TIMEOUT, -27: State.OUT_OF_MEMORY, -26: State.OUT_OF_MEMORY}
SIGNALLED, TERM, KILL = 256, 15, 9
CLOCK = "%a %b %d %H:%M:%S %Y"


def from_history(text: str) -> dict[str, JobStatus]:
    """Return the status of each job by its id; without a job there is no "Jobs" at all.

    Raises:
        SchedulerError: It is not what qstat prints.
    """
    try:
        jobs = json.loads(text).get("Jobs", {})
        return {id_: _status(id_, job) for id_, job in jobs.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        message = f"qstat printed what cannot be read ({error}): {text[:200]!r}"
        raise SchedulerError(message) from error


def _status(id_: str, job: dict[str, Any]) -> JobStatus:
    code = job.get("Exit_status")
    state = _state(job["job_state"], code)
    used = job.get("resources_used", {}).get("walltime", "00:00:00")
    began = _time(job.get("stime"))
    seconds = _seconds(used)
    return JobStatus(
        id=id_,
        key=job["Job_Name"],
        state=state,
        nodes=float(job.get("Resource_List", {}).get("nodect", 0)),
        seconds=seconds,
        start=began,
        end=_time(job.get("obittime")) or (began + seconds if began is not None else None)
        if state.is_over
        else None,
        node_names=job.get("exec_host", ""),
        exit_code=_exit_code(code, state),
    )


def _state(letter: str, code: int | None) -> State:
    """Return the state; one that is over by its exit status, where none means never begun."""
    if letter not in OVER:
        return STATES.get(letter, State.UNKNOWN)
    if code is None:
        return State.CANCELLED
    if code < 0:
        return ENDS.get(code, State.NODE_FAIL)
    if code == 0:
        return State.COMPLETED
    # qdel sends TERM; which of the two ended a job that was deleted depends on how it takes that
    return State.CANCELLED if code - SIGNALLED in (TERM, KILL) else State.FAILED


def _exit_code(code: int | None, state: State) -> int | None:
    """Return the exit code as a shell has it; None for a job that was ended from outside."""
    if code is None or state not in (State.COMPLETED, State.FAILED):
        return None
    return code if code < SIGNALLED else 128 + code - SIGNALLED


def _seconds(text: str) -> int:
    """Return the seconds in "HH:MM:SS"."""
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds)


def _time(text: str | None) -> int | None:
    """Return seconds since 1970, None for a time that is not there."""
    return int(time.mktime(time.strptime(text, CLOCK))) if text else None
