"""What is asked of a machine, one batch job, and what the machine says of it."""

import os
from enum import StrEnum
from pathlib import Path

from pydantic import PositiveInt

from pipeline.catalog import Declaration


class Job(Declaration):
    """One batch job: `nodes` × `processes_per_node` copies of `command`.

    A training runs one process per device; a pilot one per node. `key` is the idempotency key: it
    stands in the job's name and comment, and is looked up before anything is submitted again. The
    job's own files lie in `folder`. It waits until the job of the id `after` is over, however that
    ends. It runs in the container `image`, if any, and never on the nodes `exclude`. `code` is the
    folder that its programs are imported from; empty where they are installed. The batch script
    runs `before` first, and what the job is for only if that ends with 0 (75: nothing is to be
    done); and `afterwards`, with the exit code as one more argument, where nobody ended the job.

    A bundle has `parts` instead of a command: links of several trainings side by side, each with
    nodes, an exit code and a log of its own, and with `afterwards` of its own. `before` prints the
    numbers of the parts that are wanted, from 1; the bundle's `afterwards` gets no code.
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
    before: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()
    parts: tuple["Job", ...] = ()

    @property
    def script(self) -> Path:
        """The batch script, as submitted."""
        return self.folder / f"{self.key}.sbatch"

    @property
    def log(self) -> Path:
        """What the job prints; a continued link appends."""
        return self.folder / f"{self.key}.log"


def batch_job_id() -> str:
    """Return the id of the batch job that this process runs in, empty outside of one."""
    return os.environ.get("COSMOTRON_JOB_ID", "")


class State(StrEnum):
    """Where a job is in its life, whichever scheduler holds it."""

    PENDING = "pending"
    RUNNING = "running"
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
        return self not in (State.PENDING, State.RUNNING, State.UNKNOWN)


class JobStatus(Declaration):
    """What the scheduler's accounting says of one job.

    `seconds` is what it has run so far, at the scheduler's resolution; `nodes` may be a fraction
    where jobs share a node; `node_names` are the scheduler's words for them. `start` and `end` are
    seconds since 1970, None before they happen. Of a job that was put back into the queue
    `attempts` are the seconds of each time that it ran. `energy_joules` is what its nodes took,
    None where the site does not measure that.
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
