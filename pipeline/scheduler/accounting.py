"""What sacct and squeue print, read into job statuses."""

import time
from collections.abc import Iterable, Iterator

from pipeline.job import JobStatus, State
from pipeline.scheduler.reasons import explained
from pipeline.scheduler.rows import Row
from pipeline.scheduler.slurm_reasons import HELD_STATES, SUSPENDED, TABLE

# https://slurm.schedmd.com/job_state_codes.html, as squeue and sacct print them
STATES = {
    "BOOT_FAIL": State.NODE_FAIL,
    "CANCELLED": State.CANCELLED,
    "COMPLETED": State.COMPLETED,
    "COMPLETING": State.RUNNING,
    "CONFIGURING": State.RUNNING,
    "DEADLINE": State.TIMEOUT,
    "EXPEDITING": State.PENDING,
    "FAILED": State.FAILED,
    "NODE_FAIL": State.NODE_FAIL,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "PENDING": State.PENDING,
    "PREEMPTED": State.PREEMPTED,
    "REQUEUED": State.PENDING,
    "REQUEUE_FED": State.PENDING,
    "REQUEUE_HOLD": State.PENDING,
    "RESIZING": State.RUNNING,
    "RESV_DEL_HOLD": State.PENDING,
    "REVOKED": State.CANCELLED,
    "RUNNING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "SPECIAL_EXIT": State.PENDING,
    "STAGE_OUT": State.RUNNING,
    "STOPPED": State.SUSPENDED,  # by a signal, and it keeps its nodes
    "SUSPENDED": State.SUSPENDED,
    "TIMEOUT": State.TIMEOUT,
}

# ConsumedEnergyRaw: joules of the whole job (docs.lumi-supercomputer.eu, "Job energy"); 0 or empty
# where the site does not measure it
FIELDS = (
    "JobIDRaw,State,ElapsedRaw,NNodes,Submit,Start,End,ExitCode,NodeList,ConsumedEnergyRaw,"
    "Suspended,JobName"
)
QUEUE_FORMAT = "%A|%T|%D|%V|%S|%r|%j"


def from_accounting(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of `FIELDS`; the job's name comes last, it may hold a |."""
    names = FIELDS.split(",")
    for line in lines:
        fields = dict(zip(names, line.split("|", len(names) - 1), strict=True))
        state = _state(fields["State"])
        nodes = fields["NodeList"]
        status = JobStatus(
            id=fields["JobIDRaw"],
            key=fields["JobName"],
            state=state,
            nodes=float(fields["NNodes"] or 0),
            seconds=int(fields["ElapsedRaw"] or 0),
            start=_time(fields["Start"]),
            end=_time(fields["End"]),
            node_names="" if nodes == "None assigned" else nodes,
            exit_code=_exit_code(fields["ExitCode"], state) if state.is_over else None,
            energy_joules=float(fields["ConsumedEnergyRaw"] or 0) or None,
            suspended_seconds=_seconds(fields["Suspended"]),
        )
        yield Row(_explained(status, fields["State"], ""), _time(fields["Submit"]))


def from_queue(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of `QUEUE_FORMAT`, where a start to come is an estimate."""
    for line in lines:
        id_, word, nodes, submit, start, reason, key = line.split("|", 6)
        state = _state(word)
        started = None if state is State.PENDING else _time(start)
        status = JobStatus(
            id=id_,
            key=key,
            state=state,
            nodes=float(nodes),
            seconds=max(0, int(time.time()) - started) if started else 0,
            start=started,
        )
        yield Row(_explained(status, word, reason), _time(submit))


def _explained(status: JobStatus, word: str, reason: str) -> JobStatus:
    """Return `status` with why the job does not run, by its state's word and Slurm's reason."""
    if status.state is State.SUSPENDED:
        return explained(status, word, SUSPENDED)
    if status.state is not State.PENDING:
        return status
    held = word if word in HELD_STATES else ""
    shown = reason.replace("_", " ") if reason != "None" else ""
    return explained(status, held or shown, TABLE) if held or shown else status


def _state(words: str) -> State:
    """Return the state in Slurm's `words`, such as "CANCELLED by 1000"."""
    return STATES.get(words.split(" ", maxsplit=1)[0].rstrip("+"), State.UNKNOWN)


def _time(text: str) -> int | None:
    """Return seconds since 1970, None for "Unknown", "None" and "N/A"."""
    return int(text) if text.isdigit() else None


def _seconds(text: str) -> int:
    """Return the seconds in "days-hours:minutes:seconds"; days may be missing."""
    days, _, time_of_day = text.rpartition("-")
    hours, minutes, seconds = (float(each) for each in (time_of_day or "0:0:0").split(":"))
    return round(86_400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds)


def _exit_code(text: str, state: State) -> int | None:
    """Return the exit code in "code:signal", 128 + signal as the shell has it.

    None for a job that was ended from outside: Slurm says 0:0 there, and that is no success.
    """
    code, _, signal = text.partition(":")
    if int(code) or not int(signal or 0):
        return int(code) if int(code) or state is State.COMPLETED else None
    return 128 + int(signal)
