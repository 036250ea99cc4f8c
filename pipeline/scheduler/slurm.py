"""Jobs on Slurm, through the text of its own commands (`-P`: stable since long before JSON)."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pipeline import clock
from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.scheduler import accounting, slurm_cluster
from pipeline.scheduler.cluster import Cluster
from pipeline.scheduler.commands import call, submit_once
from pipeline.scheduler.interface import BatchSystem, NotNowError, SchedulerError
from pipeline.scheduler.rows import Row, combined, earliest, matched
from pipeline.site import NodeClass
from pipeline.trust import user_name

# What Slurm's commands print where the same command may pass later: the names of limits on jobs
# in the queue (https://slurm.schedmd.com/resource_limits.html), and a controller that is away.
NOT_NOW = re.compile(
    "(Assoc|QOS)(Grp|Max)SubmitJob|MaxSubmitJobs|[Uu]nable to contact slurm|Socket timed out"
    "|[Tt]emporarily unable|Connection refused|[Cc]ommunication connection failure"
    "|slurmdbd|Zero Bytes were transmitted"
)

# slurm_strerror(ESLURM_DB_QUERY_TOO_WIDE)
TOO_WIDE = "Too wide of a date range in query"
LEAST_RANGE_SECONDS = 3600
NODE_WAIT_SECONDS = 300
OLDEST = 1_000_000  # the earliest time that Slurm accepts as "uts" (parse_time.c)


@dataclass
class RangeLimit:
    """The longest range that accounting answers for, in seconds, as its refusals have shown."""

    seconds: float = math.inf


@dataclass(frozen=True)
class SlurmScheduler(BatchSystem):
    """Slurm through sbatch, squeue, sacct and scancel; each call is one command for all jobs.

    A lost answer costs nothing: `find` searches accounting for the key before a job is submitted
    again. Accounting is queried back to the reservation of the oldest job, and in several ranges
    where a site limits the range of a query.
    """

    NAME: ClassVar[str] = "slurm"
    RUNS_BUNDLES: ClassVar[bool] = True
    JOB_ID: ClassVar[str] = "$SLURM_JOB_ID"
    NODE_NAMES: ClassVar[str] = "$SLURM_JOB_NODELIST"
    AT_HAND: ClassVar[str] = "sinfo"

    timeout_seconds: float = 60.0
    limit: RangeLimit = field(default_factory=RangeLimit)

    def submit(self, job: Job, text: str, *, tried_since: float | None = None) -> str:
        """See `Scheduler.submit`."""
        return submit_once(
            job,
            text,
            tried_since=tried_since,
            find=self.find,
            ask=lambda: _job_id(self._call("sbatch", "--parsable", str(job.script))),
        )

    def find(self, key: str, since: float) -> str | None:
        """See `Scheduler.find`: squeue knows a job at once, sacct for good."""
        named = f"--name={key}"
        for rows in (self._queue("--states=all", named), self._accounting(since, named)):
            ids = [row.status.id for row in rows if row.is_of(key, since)]
            if ids:
                return ids[-1]
        return None

    def query(self, jobs: Iterable[JobHandle]) -> dict[JobHandle, JobStatus]:
        """See `Scheduler.query`: sacct first, squeue for jobs that wait or are not there yet."""
        wanted = sorted(set(jobs))
        if not wanted:
            return {}
        ids = ",".join(dict.fromkeys(job.id for job in wanted))
        since = min(job.since for job in wanted)
        kept = matched(wanted, self._accounting(since, "--duplicates", f"--jobs={ids}"))
        if all(each.key and each.state is not State.PENDING for each in kept.values()):
            return kept
        queued = matched(wanted, self._queue())
        return {job: combined(kept[job], queued[job]) for job in wanted}

    def accounts(self) -> set[str] | None:
        """See `Scheduler.accounts`."""
        user = user_name()
        command = ("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}")
        return set(self._call(*command, "format=account").split())

    def hosts(self, names: str) -> list[str]:
        """See `Scheduler.hosts`."""
        return self._call("scontrol", "show", "hostnames", names).split() if names else []

    def cancel(self, jobs: Iterable[JobHandle]) -> None:
        """See `Scheduler.cancel`."""
        wanted = set(jobs)
        if not wanted:
            return
        queued = matched(wanted, self._queue())
        ids = sorted(job.id for job, each in queued.items() if each.key)
        if ids:
            self._call("scancel", "--quiet", *ids)

    @classmethod
    def queue_command(cls, *, partitions: bool) -> Sequence[str]:
        """See `BatchSystem.queue_command`; Slurm calls a queue a QOS."""
        if partitions:
            return ("sinfo", "--noheader", "--format=%R")
        return ("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=name")

    def cluster(self) -> Cluster:
        """See `BatchSystem.cluster`."""
        return slurm_cluster.read(self._call, user_name())

    def on_node(self, words: Sequence[str], request: Mapping[str, str]) -> str:
        """See `BatchSystem.on_node`; srun gives up where no node is free in time."""
        options = [f"--{name}={value}" for name, value in request.items() if value]
        waits = ("--nodes=1", "--ntasks=1", "--time=2", f"--immediate={NODE_WAIT_SECONDS}")
        timeout = NODE_WAIT_SECONDS + self.timeout_seconds
        return call(("srun", *waits, *options, *words), self.environment(), timeout, NOT_NOW)

    @classmethod
    def environment(cls) -> Mapping[str, str]:
        """See `BatchSystem.environment`; times are printed as seconds since 1970.

        A controller that is itself a job (NERSC's workflow queue) would pass its own options on,
        and users set options of the commands to read them (SQUEUE_FORMAT, SINFO_PARTITION,
        SCANCEL_NAME …), which would change what is printed or cancelled here.
        """
        options = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_")
        known = os.environ.items()
        kept = {k: v for k, v in known if not k.startswith(options) or k == "SLURM_CONF"}
        return kept | {"SLURM_TIME_FORMAT": "%s"}

    @classmethod
    def node_request(cls, node: NodeClass) -> str:
        """See `BatchSystem.node_request`."""
        options = {"--constraint=": node.constraint, "--partition=": node.partition}
        return ", ".join(option + value for option, value in options.items() if value)

    def _queue(self, *options: str) -> Iterator[Row]:
        """Yield squeue's rows of this user's jobs."""
        form = f"--format={accounting.QUEUE_FORMAT}"
        return accounting.from_queue(
            self._call("squeue", "--me", "--noheader", form, *options).splitlines()
        )

    def _accounting(self, since: float, *options: str) -> Iterator[Row]:
        """Yield sacct's rows, one per attempt of a job (no steps), those of the newest range first.

        A range that the site refuses as too wide (MaxQueryTimeRange, slurmdbd.conf) is halved.
        """
        form = f"--format={accounting.FIELDS}"
        begin, until = max(OLDEST, earliest(since)), clock.time()
        end: tuple[str, ...] = ()  # of the newest range there is none
        while not end or begin < until:
            start = max(begin, until - self.limit.seconds)
            times = (f"--starttime=uts{start:.0f}", *end)
            try:
                answer = self._call("sacct", "-X", "-P", "--noheader", form, *times, *options)
            except SchedulerError as error:
                if TOO_WIDE not in str(error) or until - start < LEAST_RANGE_SECONDS:
                    raise
                self.limit.seconds = (until - start) / 2
                continue
            yield from accounting.from_accounting(answer.splitlines())
            until = start
            end = (f"--endtime=uts{until:.0f}",)

    def _call(self, *command: str) -> str:
        """Return what `command` prints; times come as seconds since 1970.

        Raises:
            NotNowError: It may pass later, or it says nothing for `timeout_seconds`.
            SchedulerError: It fails, or is not there.
        """
        return call(command, self.environment(), self.timeout_seconds, NOT_NOW)


def _job_id(answer: str) -> str:
    """Return the job's id in what `sbatch --parsable` prints: "id" or "id;cluster".

    Raises:
        NotNowError: There is none.
    """
    job_id = answer.strip().split(";")[0]
    if not job_id.isdigit():
        message = f"sbatch printed no job's id, but {answer.strip()!r}. Run the same command again."
        raise NotNowError(message)
    return job_id
