"""Blocks of nodes for Parsl, each of them a job of ours, and the command line that runs in one."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.jobs.states import JobState, JobStatus
from parsl.providers.base import ExecutionProvider

from pipeline import job as jobs
from pipeline.chains.job_manager import JobManager
from pipeline.job import Job, State

STATES = {
    State.PENDING: JobState.PENDING,
    State.RUNNING: JobState.RUNNING,
    State.SUSPENDED: JobState.RUNNING,
    State.COMPLETED: JobState.COMPLETED,
    State.CANCELLED: JobState.CANCELLED,
    State.TIMEOUT: JobState.TIMEOUT,
    State.UNKNOWN: JobState.PENDING,
}


class PilotProvider(ExecutionProvider):  # type: ignore[misc]
    """Blocks of nodes for Parsl, each of them a job of ours."""

    def __init__(self, manager: JobManager, kind: str) -> None:
        pilot = manager.plan.pilots(kind)
        self.manager, self.kind = manager, kind
        self.nodes_per_block = pilot.nodes_per_block
        self.init_blocks = self.min_blocks = 0
        self.max_blocks = pilot.max_blocks
        self.parallelism = 1.0
        self.cores_per_node = self.mem_per_node = None
        self.script_dir: str | None = None
        self.resources: dict[object, Any] = {}
        self.jobs: dict[str, Job] = {}
        self._ended: dict[str, jobs.JobStatus] = {}

    def submit(self, command: str, tasks_per_node: int, job_name: str = "pilot") -> str:
        """Submit a job that runs Parsl's `command` on each node of a block; return its id."""
        if tasks_per_node != 1:
            message = (
                f"{job_name}: Parsl requests {tasks_per_node} managers per node; a pilot has one."
            )
            raise ValueError(message)
        number = self.manager.next_number(self.kind) + len(self.manager.unended(self.kind))
        job = self.manager.plan.pilot(shlex.split(command), number, self.kind)
        job_id = self.manager.submit_when_possible(job, stage=self.kind, task_key=self.kind)
        self.jobs[job_id] = job
        self._ended.pop(job_id, None)  # an id may be that of an earlier pilot
        self.resources[job_id] = {"job_id": job_id, "status": JobStatus(JobState.PENDING)}
        return job_id

    def status(self, job_ids: Sequence[object]) -> list[JobStatus]:
        """Return the state of each block by accounting; a block that it forgot has failed."""
        return [self._status(str(job_id)) for job_id in job_ids]

    def _status(self, job_id: str) -> JobStatus:
        found = self.of(job_id)
        return JobStatus(STATES.get(found.state, JobState.FAILED), exit_code=found.exit_code)

    def of(self, job_id: str) -> jobs.JobStatus:
        """Return what accounting says of a block; one that it forgot has failed.

        A block that has ended is not queried again.
        """
        if job_id in self._ended:
            return self._ended[job_id]
        found = self.manager.status(job_id)
        if self.manager.is_lost(job_id):
            self.manager.record_lost([job_id])
            reason = "the scheduler does not know it any more"
            found = found.model_copy(update={"state": State.FAILED, "reason": reason})
        if found.state.is_over:
            self._ended[job_id] = found
        return found

    def cancel(self, job_ids: Sequence[object]) -> list[bool]:
        """Cancel blocks."""
        self.manager.request_cancel([str(job_id) for job_id in job_ids])
        return [True for _ in job_ids]

    @property
    def label(self) -> str:
        """The provider's name in Parsl's logs."""
        return self.kind

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two polls of the blocks."""
        return self.manager.plan.pilots(self.kind).poll_seconds


PROGRAM, CERTIFICATES, LOGS = "process_worker_pool.py", "CERTIFICATES", "LOGS"


class PilotExecutor(HighThroughputExecutor):  # type: ignore[misc]
    """Parsl's executor, whose workers are found and log in folders of any name.

    Parsl puts paths into its command line as they are, and formats it twice: a space, a quote or a
    brace in one would break it. Here words stand for the paths until the line is quoted.
    """

    def __init__(self, **settings: Any) -> None:
        line = DEFAULT_LAUNCH_CMD.replace("{cert_dir}", CERTIFICATES).replace("{logdir}", LOGS)
        super().__init__(launch_cmd=line, **settings)

    def _get_launch_command(self, block_id: str) -> str:
        """Return the command line of a block's worker pool, quoted for a shell."""
        paths = {
            PROGRAM: str(Path(sys.executable).parent / PROGRAM),
            CERTIFICATES: str(self.cert_dir),
            f"--logdir={LOGS}": f"--logdir={self.worker_logdir}",
        }
        words = super()._get_launch_command(block_id).split()
        return shlex.join(paths.get(word, word) for word in words)
