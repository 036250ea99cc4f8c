"""A batch job as it is submitted, and its state as the scheduler reports it."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from pipeline.catalog import Declaration

ACCELERATOR = "COSMOTRON_ACCELERATOR"  # what a process of a job must find: cpu, cuda or rocm
# What hides devices from a process; Parsl gives a worker its device by all of these at once.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class Job(Declaration):
    """One batch job: `nodes` × `processes_per_node` copies of `command`.

    A training runs one process per device, a pilot one per node. `key` is the idempotency key: it
    stands in the job's name and comment, and is looked up before anything is submitted again.
    `folder` has the job's files. The job waits until the job with the id `after` has ended, for
    whatever reason. It runs in the container `image`, if any, and never on the nodes `exclude`. Its
    programs are imported from the folder `code`, if it is not empty. The batch script first runs
    `before`, and the command only if that exits with 0 (75: nothing to do); then `afterwards`, with
    the exit code as one more argument, unless the job was ended from outside.

    A bundle has `parts` instead of a command: links of several trainings side by side, each with
    its nodes, exit code, log and `afterwards`. `before` prints the numbers of the parts to run,
    from 1; the bundle's own `afterwards` gets no code. A part has the nodes from `first_node` on,
    from 0; one that shares its node has the devices at these `positions` in its order.
    """

    key: str
    folder: Path
    command: tuple[str, ...] = ()
    node: str
    nodes: PositiveInt
    processes_per_node: PositiveInt
    walltime_minutes: PositiveInt
    account: str = ""
    qos: str = ""
    pilot: bool = False
    after: str = ""
    image: str = ""
    exclude: tuple[str, ...] = ()
    code: str = ""
    umask: str = ""
    before: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()
    parts: tuple["Job", ...] = ()
    first_node: NonNegativeInt = 0
    positions: tuple[NonNegativeInt, ...] = ()

    @property
    def held_nodes(self) -> list[float]:
        """The nodes that each part is charged for: those of the job, by the parts' devices."""
        devices = [each.nodes * each.processes_per_node for each in self.parts]
        return [self.nodes * each / sum(devices) for each in devices]

    @property
    def script(self) -> Path:
        """The batch script, as submitted."""
        return self.folder / f"{self.key}.sbatch"

    @property
    def log(self) -> Path:
        """The output of the job; a continued link appends."""
        return self.folder / f"{self.key}.log"


@dataclass(frozen=True, order=True)
class JobHandle:
    """A submitted job: the scheduler's `id`, its `key`, and the earliest time of its submission.

    An id alone does not identify a job: schedulers reuse ids (Slurm's wrap round at MaxJobId, and
    begin at 1 again with a new controller). `since` is in seconds since 1970, 0 if unknown.
    """

    id: str
    key: str
    since: float = 0.0


def batch_job_id() -> str:
    """Return the id of the batch job that this process runs in, empty outside of one."""
    return os.environ.get("COSMOTRON_JOB_ID", "")


class State(StrEnum):
    """The state of a job, the same names for every scheduler."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    UNKNOWN = "unknown"

    @property
    def is_over(self) -> bool:
        """Whether the job has ended and will not change any more."""
        return self not in (State.PENDING, State.RUNNING, State.SUSPENDED, State.UNKNOWN)


class JobStatus(Declaration):
    """What the scheduler's accounting reports of one job.

    `seconds` is its run time so far, at the scheduler's resolution; `nodes` may be a fraction where
    jobs share a node; `node_names` is the scheduler's notation. `start` and `end` are in seconds
    since 1970, None before they happen. For a job that was put back into the queue `attempts` has
    the seconds of each run. `energy_joules` is the energy that its nodes used, None where the site
    does not measure it. `suspended_seconds` do not count as run time. `reason` is why a job does
    not run, or why nothing is known of it, in the scheduler's words; `advice` is what the user can
    do, and `is_stuck` whether it never starts otherwise. Of an unknown job `is_another` says that
    the scheduler knows another one with its id, `is_gone` that it certainly runs none of its key.
    """

    id: str
    key: str
    state: State
    nodes: float = 0.0
    seconds: int = 0
    start: int | None = None
    end: int | None = None
    node_names: str = ""
    exit_code: int | None = None
    attempts: tuple[int, ...] = ()
    energy_joules: float | None = None
    suspended_seconds: int = 0
    reason: str = ""
    advice: str = ""
    is_stuck: bool = False
    is_another: bool = False
    is_gone: bool = False

    def failed(self) -> "JobStatus":
        """Return the status of a job that has failed: nobody works for it any more."""
        return self.model_copy(update={"state": State.FAILED})


def number_of(key: str) -> int:
    """Return the number in the key of a job, 0 if it is the key of none."""
    number = key.rpartition(".")[2].partition("-")[0]
    return int(number) if number.isdecimal() else 0


def is_after(key: str, earlier: str) -> bool:
    """Return whether job `key` is of the same chain as the job `earlier`, and comes after it.

    The links of a chain run one after the other: when one runs, those before it have ended.
    """
    (task, _, tail), (other, _, before) = key.rpartition("."), earlier.rpartition(".")
    same = task == other and tail.partition("-")[2] == before.partition("-")[2]
    return bool(task) and same and 0 < number_of(earlier) < number_of(key)
