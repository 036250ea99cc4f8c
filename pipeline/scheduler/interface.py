"""What every scheduler does for the pipeline, and what distinguishes one from another."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, Self

from pipeline.catalog import DeclarationError
from pipeline.job import Job, JobHandle, JobStatus
from pipeline.run import Run
from pipeline.scheduler.cluster import Cluster
from pipeline.site import NodeClass, Site


class SchedulerError(RuntimeError):
    """The scheduler refused or did not answer; the message holds its own words and what to do."""

    outcome = "scheduler"


class NotNowError(SchedulerError):
    """The queue takes no more jobs at present, or nobody answers: the same call may pass later."""


class Scheduler(Protocol):
    """A way to run jobs; all truth about a job is with the scheduler, none in this object."""

    def submit(self, job: Job, text: str, *, tried_since: float | None = None) -> str:
        """Write `text` as the job's script, submit it and return the job's id.

        A job whose key the scheduler knows, live or over, is not submitted again: the id of the
        known job is returned. The key is looked up only if a submission may have been tried before,
        at `tried_since` (seconds since 1970) or later.

        Raises:
            NotNowError: The queue is full, or the scheduler may or may not have accepted the job.
            SchedulerError: The scheduler refused the job.
        """
        ...

    def find(self, key: str, since: float) -> str | None:
        """Return the id of the job with the idempotency key `key`, None if there is none.

        Jobs that were submitted before `since` (seconds since 1970) are left out.
        """
        ...

    def query(self, jobs: Iterable[JobHandle]) -> dict[JobHandle, JobStatus]:
        """Return the status of each job; one that accounting does not know is UNKNOWN.

        What the scheduler says of an id counts only if its key and its time are the job's too.

        Raises:
            SchedulerError: The scheduler does not answer; try again.
        """
        ...

    def accounts(self) -> set[str] | None:
        """Return the accounts that this user may charge, None if the scheduler lists none.

        Raises:
            SchedulerError: The scheduler does not answer.
        """
        ...

    def hosts(self, names: str) -> list[str]:
        """Return each node in `JobStatus.node_names`; empty if the scheduler names no nodes.

        Raises:
            SchedulerError: The scheduler refuses.
        """
        ...

    def cancel(self, jobs: Iterable[JobHandle]) -> None:
        """Cancel the jobs; jobs that are over, or whose id is another job's, are left alone.

        Raises:
            SchedulerError: The scheduler refuses.
        """
        ...


class BatchSystem(Scheduler, Protocol):
    """A scheduler as a site declares it: `scheduler = "NAME"`.

    To add one, write a subclass in this room and name it in `connect.SYSTEMS`. The attributes are
    all that the rest of the pipeline knows of a scheduler.

    Attributes:
        NAME: The word in a site's declaration.
        HAS_QUEUE: Whether jobs wait for nodes of their own, and are charged. If not, all jobs run
            on this machine.
        RUNS_BUNDLES: Whether one job can run several programs side by side.
        SUFFIX: The templates of its batch scripts are `jobs/templates/*.SUFFIX.j2`.
        JOB_ID: The shell expression for the job's id in a batch script; empty if it is the key.
        NODE_NAMES: The shell expression for the names of the job's nodes; empty if it has none.
        AT_HAND: A command that is there where the scheduler is; empty if it has none.
        NO_ACCOUNTS: Why `accounts` returns None, for the user.
    """

    NAME: ClassVar[str]
    HAS_QUEUE: ClassVar[bool] = True
    RUNS_BUNDLES: ClassVar[bool] = False
    SUFFIX: ClassVar[str] = "sbatch"
    JOB_ID: ClassVar[str] = ""
    NODE_NAMES: ClassVar[str] = ""
    AT_HAND: ClassVar[str] = ""
    NO_ACCOUNTS: ClassVar[str] = "its scheduler lists no accounts"

    @classmethod
    def connect(cls, site: Site, run: Run) -> Self:
        """Return the scheduler of `site` for the jobs of `run`."""
        return cls()

    @classmethod
    def queue_command(cls, *, partitions: bool) -> Sequence[str]:
        """Return the command that prints the names of all queues, or of all partitions.

        Empty if there is none.
        """
        return ()

    def cluster(self) -> Cluster:
        """Return the cluster of this machine, as the scheduler's commands describe it.

        Raises:
            SchedulerError: A command fails, or prints something else than documented.
        """
        message = f"{self.NAME}: it has no commands that describe a cluster."
        raise SchedulerError(message)

    def on_node(self, words: Sequence[str], request: Mapping[str, str]) -> str:
        """Return what the command `words` prints on a compute node, once one is free.

        `request` has the partition, constraint, account and GPUs of such a node, where needed.

        Raises:
            SchedulerError: The scheduler gives no node, or cannot run a command on one.
        """
        message = f"{self.NAME}: no command runs on a node without a script. Leave out --ask-node."
        raise SchedulerError(message)

    @classmethod
    def environment(cls) -> Mapping[str, str]:
        """Return the environment for its commands, without options that a user set for them."""
        return os.environ

    @classmethod
    def node_request(cls, node: NodeClass) -> str:
        """Return what a batch script requests to get such a node, for the user."""
        return ""


def batch_system(site: Site) -> type[BatchSystem]:
    """Return the scheduler class that `site` declares.

    Raises:
        DeclarationError: No scheduler has that name.
    """
    if site.scheduler not in SYSTEMS:
        known = ", ".join(SYSTEMS)
        message = f"{site.name}: no scheduler {site.scheduler!r}. Known: {known}."
        raise DeclarationError(message)
    return SYSTEMS[site.scheduler]


SYSTEMS: dict[str, type[BatchSystem]] = {}  # by name; `connect` fills it
