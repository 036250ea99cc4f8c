"""Jobs on Slurm, through the text of its own commands (`-P`: stable since long before JSON)."""

import getpass
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.job import Job, JobStatus, State
from pipeline.scheduler import accounting
from pipeline.scheduler.commands import call, submit_once
from pipeline.scheduler.interface import BatchSystem, NotNowError
from pipeline.site import NodeClass

# What Slurm's commands print where the same command may pass later: the names of limits on jobs
# in the queue (https://slurm.schedmd.com/resource_limits.html), and a controller that is away.
NOT_NOW = re.compile(
    "(Assoc|QOS)(Grp|Max)SubmitJob|MaxSubmitJobs|[Uu]nable to contact slurm|Socket timed out"
    "|[Tt]emporarily unable|Connection refused|[Cc]ommunication connection failure"
    "|slurmdbd|Zero Bytes were transmitted"
)


@dataclass(frozen=True)
class SlurmScheduler(BatchSystem):
    """Slurm through sbatch, squeue, sacct and scancel; each call is one command for all jobs.

    A lost answer costs nothing: `find` searches the last `find_days` days for the key before a job
    is submitted again.
    """

    NAME: ClassVar[str] = "slurm"
    RUNS_BUNDLES: ClassVar[bool] = True
    JOB_ID: ClassVar[str] = "$SLURM_JOB_ID"
    NODE_NAMES: ClassVar[str] = "$SLURM_JOB_NODELIST"

    timeout_seconds: float = 60.0
    find_days: int = 60

    def submit(self, job: Job, text: str, *, tried: bool = True) -> str:
        """See `Scheduler.submit`."""
        return submit_once(
            job,
            text,
            tried=tried,
            find=self.find,
            ask=lambda: _job_id(self._call("sbatch", "--parsable", str(job.script))),
        )

    def find(self, key: str) -> str | None:
        """See `Scheduler.find`: squeue knows a job at once, sacct for good."""
        queued = self._call(
            "squeue", "--me", "--noheader", "--states=all", f"--name={key}", "--format=%A"
        )
        since = f"--starttime=now-{self.find_days}days"
        kept = self._accounting(f"--name={key}", since, fields="JobIDRaw,JobName")
        ids = [*kept, *queued.splitlines()]
        return ids[-1].split("|")[0] if ids else None

    def query(self, ids: Iterable[str]) -> dict[str, JobStatus]:
        """See `Scheduler.query`: sacct first, squeue for the jobs that it does not know yet."""
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        rows = self._accounting(
            "--duplicates", f"--jobs={','.join(wanted)}", fields=accounting.FIELDS
        )
        known = accounting.merged(
            status
            for status in map(accounting.from_accounting, rows)
            if status.key != accounting.NAMELESS
        )
        if not known.keys() >= set(wanted):
            queue = self._call(
                "squeue", "--me", "--noheader", f"--format={accounting.QUEUE_FORMAT}"
            )
            waiting = accounting.merged(accounting.from_queue(row) for row in queue.splitlines())
            # only accounting knows how long a job ran
            known = {i: each for i, each in waiting.items() if not each.state.is_over} | known
        unknown = {id_: JobStatus(id=id_, key="", state=State.UNKNOWN) for id_ in wanted}
        return {id_: known.get(id_, unknown[id_]) for id_ in wanted}

    def accounts(self) -> set[str] | None:
        """See `Scheduler.accounts`."""
        user = getpass.getuser()
        command = ("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}")
        return set(self._call(*command, "format=account").split())

    def hosts(self, names: str) -> list[str]:
        """See `Scheduler.hosts`."""
        return self._call("scontrol", "show", "hostnames", names).split() if names else []

    def cancel(self, ids: Iterable[str]) -> None:
        """See `Scheduler.cancel`."""
        wanted = sorted(set(ids))
        if wanted:
            self._call("scancel", "--quiet", *wanted)

    @classmethod
    def queue_command(cls, *, partitions: bool) -> Sequence[str]:
        """See `BatchSystem.queue_command`; Slurm calls a queue a QOS."""
        if partitions:
            return ("sinfo", "--noheader", "--format=%R")
        return ("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=name")

    @classmethod
    def node_request(cls, node: NodeClass) -> str:
        """See `BatchSystem.node_request`."""
        options = {"--constraint=": node.constraint, "--partition=": node.partition}
        return ", ".join(option + value for option, value in options.items() if value)

    def _accounting(self, *options: str, fields: str) -> list[str]:
        """Return sacct's rows, one per job (no steps), oldest first."""
        answer = self._call("sacct", "-X", "-P", "--noheader", f"--format={fields}", *options)
        return answer.splitlines()

    def _call(self, *command: str) -> str:
        """Return what `command` prints; times come as seconds since 1970.

        Raises:
            NotNowError: It may pass later, or it says nothing for `timeout_seconds`.
            SchedulerError: It fails, or is not there.
        """
        return call(command, environment(), self.timeout_seconds, NOT_NOW)


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


def environment() -> dict[str, str]:
    """Return the environment of Slurm's commands, without the options of a job around us.

    A controller that is itself a job (NERSC's workflow queue) would pass its own options on, and
    users set options of the commands to read them (SQUEUE_FORMAT, SACCT_FORMAT, SCANCEL_NAME …),
    which would change what is printed or cancelled here.
    """
    options = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(options) or k == "SLURM_CONF"}
    return kept | {"SLURM_TIME_FORMAT": "%s"}
