"""What sacct and squeue print, read into job statuses."""

import time
from collections.abc import Iterable

from pipeline.job import JobStatus, State

# https://slurm.schedmd.com/sacct.html#SECTION_JOB-STATE-CODES and squeue's
STATES = {
    "BOOT_FAIL": State.NODE_FAIL,
    "CANCELLED": State.CANCELLED,
    "COMPLETED": State.COMPLETED,
    "COMPLETING": State.RUNNING,
    "CONFIGURING": State.RUNNING,
    "DEADLINE": State.TIMEOUT,
    "FAILED": State.FAILED,
    "NODE_FAIL": State.NODE_FAIL,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "PENDING": State.PENDING,
    "PREEMPTED": State.PREEMPTED,
    "REQUEUED": State.PENDING,
    "RESIZING": State.RUNNING,
    "REVOKED": State.CANCELLED,
    "RUNNING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "TIMEOUT": State.TIMEOUT,
}

# ConsumedEnergyRaw: joules of the whole job (docs.lumi-supercomputer.eu, "Job energy"); 0 or empty
# where the site does not measure it
FIELDS = "JobIDRaw,State,ElapsedRaw,NNodes,Start,End,ExitCode,NodeList,ConsumedEnergyRaw,JobName"
# sacct's name for a job of whose end it has heard, but not of its start (22.05: for up to 5 s)
NAMELESS = "allocation"
QUEUE_FORMAT = "%A|%T|%D|%S|%j"


def merged(statuses: Iterable[JobStatus]) -> dict[str, JobStatus]:
    """Return the statuses by id; a requeued job has one row per attempt, all of them charged."""
    merged: dict[str, JobStatus] = {}
    for status in statuses:
        earlier = merged.get(status.id)
        before = (earlier.attempts or (earlier.seconds,)) if earlier else ()
        attempts = (*before, status.seconds)
        joules = (status.energy_joules or 0.0) + ((earlier and earlier.energy_joules) or 0.0)
        changes = {
            "seconds": sum(attempts),
            "attempts": attempts if earlier else (),
            "energy_joules": joules or None,
        }
        merged[status.id] = status.model_copy(update=changes)
    return merged


def from_accounting(row: str) -> JobStatus:
    """Return the status in one row of `FIELDS`; the job's name comes last, it may hold a |."""
    id_, state, seconds, nodes, start, end, code, names, joules, key = row.split("|", 9)
    status = JobStatus(
        id=id_,
        key=key,
        state=_state(state),
        nodes=float(nodes or 0),
        seconds=int(seconds or 0),
        start=_time(start),
        end=_time(end),
        node_names="" if names == "None assigned" else names,
        energy_joules=float(joules or 0) or None,
    )
    exit_code = _exit_code(code, status.state) if status.state.is_over else None
    return status.model_copy(update={"exit_code": exit_code})


def from_queue(row: str) -> JobStatus:
    """Return the status in one row of `QUEUE_FORMAT`, where a start to come is an estimate."""
    id_, word, nodes, start, key = row.split("|", 4)
    state = _state(word)
    started = None if state is State.PENDING else _time(start)
    return JobStatus(
        id=id_,
        key=key,
        state=state,
        nodes=float(nodes),
        seconds=max(0, int(time.time()) - started) if started else 0,
        start=started,
    )


def _state(words: str) -> State:
    """Return the state in Slurm's `words`, such as "CANCELLED by 1000"."""
    return STATES.get(words.split(" ", maxsplit=1)[0].rstrip("+"), State.UNKNOWN)


def _time(text: str) -> int | None:
    """Return seconds since 1970, None for "Unknown", "None" and "N/A"."""
    return int(text) if text.isdigit() else None


def _exit_code(text: str, state: State) -> int | None:
    """Return the exit code in "code:signal", 128 + signal as the shell has it.

    None for a job that was ended from outside: Slurm says 0:0 there, and that is no success.
    """
    code, _, signal = text.partition(":")
    if int(code) or not int(signal or 0):
        return int(code) if int(code) or state is State.COMPLETED else None
    return 128 + int(signal)
