"""The record of a job on a machine without a scheduler: one JSON file per job."""

import time
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt, ValidationError

from pipeline.catalog import Declaration
from pipeline.claims import Holder
from pipeline.job import JobStatus, State
from pipeline.scheduler.interface import SchedulerError
from pipeline.writing import create_text, write_text

START_SECONDS = 30  # a runner that has not reported by then never will


class Record(Declaration):
    """One job: its request, the process that runs it, and its end.

    `nodes` is the fraction of the machine that it uses; `state` is None until the job is over. It
    does not start before the job of the record `after` is over. `submitted_uptime` is in seconds
    since the machine was started, a clock that nobody sets.
    """

    key: str
    script: Path
    log: Path
    devices: PositiveInt
    devices_here: PositiveInt
    nodes: float
    walltime_seconds: PositiveInt
    signal_lead_seconds: NonNegativeInt
    submitted: int
    submitted_uptime: float = 0.0
    after: Path | None = None
    runner: Holder | None = None
    start: int | None = None
    end: int | None = None
    state: State | None = None
    exit_code: int | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the job has no end and nobody left who could write it."""
        if self.state is not None:
            return False
        if self.runner is None:
            waited = time.clock_gettime(time.CLOCK_BOOTTIME) - self.submitted_uptime
            return not 0 <= waited <= START_SECONDS
        return not self.runner.is_alive

    def over(self, state: State, exit_code: int | None = None) -> "Record":
        """Return the record with its end: now."""
        return self.model_copy(
            update={"state": state, "exit_code": exit_code, "end": int(time.time())}
        )

    def status(self) -> JobStatus:
        """Return the record as accounting would have it, at a resolution of one second."""
        state = self.state or (State.PENDING if self.start is None else State.RUNNING)
        until = self.end if self.end is not None else int(time.time())
        return JobStatus(
            id=self.key,
            key=self.key,
            state=state,
            nodes=self.nodes,
            seconds=0 if self.start is None else max(0, until - self.start),
            start=self.start,
            end=self.end,
            exit_code=self.exit_code,
        )


def is_over(path: Path) -> bool:
    """Whether the job of the record `path` has ended, is lost, or was never there."""
    record = read(path)
    return record is None or record.state is not None or record.is_lost


def create(path: Path, record: Record) -> bool:
    """Write a new `record`; return False where there is one of that name already."""
    return create_text(path, record.model_dump_json(indent=2) + "\n")


def write(path: Path, record: Record) -> None:
    """Write `record`, whole or not at all."""
    write_text(path, record.model_dump_json(indent=2) + "\n")


def read(path: Path) -> Record | None:
    """Return the record in `path`, None where there is none.

    Raises:
        SchedulerError: The file is damaged, or the record of another job.
    """
    try:
        record = Record.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        message = (
            f"{path}: not a job's record ({error.error_count()} faults). Move it away; "
            "the job it stood for is then submitted again."
        )
        raise SchedulerError(message) from error
    if record.key != path.stem:
        message = (
            f"{path}: the record of another job, {record.key}. Move it away; {path.stem} is then "
            "submitted again."
        )
        raise SchedulerError(message)
    return record
