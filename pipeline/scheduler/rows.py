"""What a scheduler prints of ids, matched with the jobs that had those ids when we submitted them.

Ids are used again: Slurm's wrap round at MaxJobId, and begin at 1 with a new controller, while its
accounting remembers the jobs of before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.job import JobHandle, JobStatus, State

# The margin for the clocks of two machines. Slurm works only within 5 minutes (munge.7: the life of
# a credential), and ids return after weeks at the earliest.
CLOCKS_APART_SECONDS = 86_400
# sacct's name for a job of whose end it has heard, but not of its start (22.05: for up to 5 s)
NAMELESS = "allocation"


@dataclass(frozen=True)
class Row:
    """One job as a scheduler prints it, or one attempt of a requeued job.

    `submitted` is in seconds since 1970, None where it is not printed; each attempt has its own.
    """

    status: JobStatus
    submitted: int | None

    def is_of(self, key: str, since: float) -> bool:
        """Whether it is of the job with that key, submitted at `since` or later."""
        return self.status.key == key and (
            self.submitted is None or self.submitted >= earliest(since)
        )


def earliest(since: float) -> float:
    """Return when a job that we submitted at `since` or later was submitted, by any clock."""
    return since - CLOCKS_APART_SECONDS


def matched(jobs: Iterable[JobHandle], rows: Iterable[Row]) -> dict[JobHandle, JobStatus]:
    """Return the status of each job by its own rows: those with its id, key and time.

    Other rows are of another job with the same id, of a step, or of an array. A job without a row
    of its own is UNKNOWN, and its `reason` names the other job.
    """
    by_id: dict[str, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row.status.id, []).append(row)
    return {job: _status(job, by_id.get(job.id, ())) for job in jobs}


def _status(job: JobHandle, rows: Sequence[Row]) -> JobStatus:
    """Return the status of `job`, given the rows with its id."""
    matching = [row for row in rows if row.is_of(job.key, job.since)]
    if matching:
        return _merged(matching)
    others = dict.fromkeys(row.status.key for row in rows if row.status.key != NAMELESS)
    return unknown(job, ", ".join(others))


def unknown(job: JobHandle, other: str = "") -> JobStatus:
    """Return the status of a job that the scheduler does not know; `other` has its id, if any."""
    reason = (
        f"the scheduler knows only another job with the id {job.id} ({other}), which is left alone"
    )
    status = JobStatus(id=job.id, key="", state=State.UNKNOWN, is_another=bool(other))
    return status.model_copy(update={"reason": reason}) if other else status


def combined(kept: JobStatus, queued: JobStatus) -> JobStatus:
    """Return the status by accounting, or by the queue where accounting does not know the job yet.

    A job that is over and not in accounting stays unknown: only accounting knows how long it ran.
    Only the queue knows why a job waits.
    """
    if kept.key and queued.key and kept.state is State.PENDING:
        waiting = queued.model_dump(include={"reason", "advice", "is_stuck"})
        return kept.model_copy(update=waiting)
    if kept.key:
        return kept
    if queued.key:
        return kept.model_copy(update={"reason": ""}) if queued.state.is_over else queued
    return kept if kept.reason else queued


def _merged(rows: Sequence[Row]) -> JobStatus:
    """Return the status of a job by its newest attempt; the seconds of all of them are charged."""
    attempts = {row.submitted or 0: row.status for row in rows}  # overlapping queries repeat rows
    ordered = [attempts[submitted] for submitted in sorted(attempts)]
    joules = sum(each.energy_joules or 0.0 for each in ordered)
    seconds = tuple(each.seconds for each in ordered)
    changes = {
        "seconds": sum(seconds),
        "attempts": seconds if len(seconds) > 1 else (),
        "energy_joules": joules or None,
    }
    return ordered[-1].model_copy(update=changes)
