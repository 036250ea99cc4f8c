"""Jobs on a machine without a scheduler: one detached process each, one record each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from pipeline.claims import Holder, process_running
from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.run import Run
from pipeline.scheduler import record as records
from pipeline.scheduler.interface import BatchSystem, SchedulerError
from pipeline.scheduler.record import START_SECONDS, Record
from pipeline.scheduler.rows import unknown
from pipeline.scheduler.script import signal_lead_seconds
from pipeline.site import Site
from pipeline.writing import write_text

RUNNER = "pipeline.scheduler.runner"


@dataclass(frozen=True)
class LocalScheduler(BatchSystem):
    """A scheduler whose jobs are processes that survive this one; a job's id is its key."""

    NAME: ClassVar[str] = "local"
    HAS_QUEUE: ClassVar[bool] = False
    NO_ACCOUNTS: ClassVar[str] = "jobs on this machine are free"

    site: Site
    run: Run

    @classmethod
    def connect(cls, site: Site, run: Run) -> Self:
        """See `BatchSystem.connect`."""
        return cls(site, run)

    def submit(self, job: Job, text: str, *, tried_since: float | None = None) -> str:
        """See `Scheduler.submit`."""
        path = self._path(job.key)
        if path.exists() or self._runner(job.key) is not None:
            return job.key
        record = self._record(job)
        write_text(job.script, text)
        if records.create(path, record):
            try:
                self._start(path, record)
            except OSError:
                path.unlink()  # a full disk: nothing has started, and nothing must seem to have
                raise
        return job.key

    def find(self, key: str, since: float) -> str | None:
        """See `Scheduler.find`."""
        path = self._path(key)
        return key if records.read(path) is not None or self._runner(key) is not None else None

    def query(self, jobs: Iterable[JobHandle]) -> dict[JobHandle, JobStatus]:
        """See `Scheduler.query`; a job whose runner was killed failed when that is found out.

        One whose record is gone, as in a run that comes from an archive, is known by its runner.
        """
        return {job: self._status(job) for job in dict.fromkeys(jobs)}

    def accounts(self) -> set[str] | None:
        """See `Scheduler.accounts`."""
        return None

    def hosts(self, names: str) -> list[str]:
        """See `Scheduler.hosts`; there is only this machine."""
        return []

    def cancel(self, jobs: Iterable[JobHandle]) -> None:
        """See `Scheduler.cancel`: TERM, and KILL half a minute later, both by the runner."""
        for job in jobs:
            runner = self._runner(job.key)
            if runner is not None and runner.is_alive:
                with suppress(ProcessLookupError):
                    os.kill(runner.pid, signal.SIGTERM)

    def _path(self, key: str) -> Path:
        return self.run.local_jobs / f"{key}.json"

    def _runner(self, key: str) -> Holder | None:
        """Return the process that runs a job: of its record, or of this machine if that is gone."""
        path = self._path(key)
        record = records.read(path)
        return process_running(RUNNER, path) if record is None else record.runner

    def _record(self, job: Job) -> Record:
        """Return the new record of `job`; a pilot takes its nodes whole.

        Raises:
            SchedulerError: The job requests more devices than the machine has.
        """
        here = self.site.nodes[job.node].devices
        devices = job.nodes * (here if job.pilot else job.processes_per_node)
        if devices > here:
            message = (
                f"{job.key}: requests {devices} devices, {self.site.title} has {here}. "
                f"Lower `devices` in the campaign, or raise it in a site of your own (--site)."
            )
            raise SchedulerError(message)
        return Record(
            key=job.key,
            script=job.script,
            log=job.log,
            devices=devices,
            devices_here=here,
            nodes=devices / here,
            walltime_seconds=60 * job.walltime_minutes,
            signal_lead_seconds=signal_lead_seconds(job, self.site),
            submitted=int(time.time()),
            submitted_uptime=time.clock_gettime(time.CLOCK_BOOTTIME),
            after=self._path(job.after) if job.after else None,
        )

    def _start(self, path: Path, record: Record) -> None:
        """Start the runner of `record` and wait until it says which process it is."""
        command = ("setsid", "--fork", sys.executable, "-m", RUNNER, str(path))
        with record.log.open("a") as log:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            started = records.read(path)
            if started is not None and started.runner is not None:
                return
            time.sleep(0.02)
        message = (
            f"{record.key}: its process did not start within {START_SECONDS} s. See {record.log}."
        )
        raise SchedulerError(message)

    def _status(self, job: JobHandle) -> JobStatus:
        path = self._path(job.key)
        record = records.read(path)
        if record is None:
            if self._runner(job.key) is not None:
                return JobStatus(id=job.key, key=job.key, state=State.RUNNING)
            reason = "its record is gone, and no process of this machine runs it"
            return unknown(job).model_copy(update={"is_gone": True, "reason": reason})
        if record.is_lost:
            record = records.read(path) or record  # it may have ended since it was read
            if record.is_lost:
                record = record.over(State.FAILED)
                records.write(path, record)
        return record.status()
