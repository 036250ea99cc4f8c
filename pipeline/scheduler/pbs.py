"""Jobs on PBS Professional, through its own commands.

PSI/J has an executor for PBS too, and keeps a job's life in the process that submitted it; here any
process finds any job again by its key, so it would have served as a way to call three commands.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from pipeline.job import Job, JobHandle, JobStatus
from pipeline.scheduler import pbs_cluster
from pipeline.scheduler.cluster import Cluster
from pipeline.scheduler.commands import call, submit_once
from pipeline.scheduler.interface import BatchSystem, NotNowError
from pipeline.scheduler.pbs_history import from_history
from pipeline.scheduler.rows import matched
from pipeline.site import NodeClass

# What qsub prints where a limit on queued jobs is reached, and any command where the server is away
# (openpbs, src/lib/Liblog/pbs_messages.c; pbs_error.h)
NOT_NOW = re.compile(
    "would exceed .* limit|Maximum number of jobs .*already in|[Cc]annot connect|Connection refused"
    "|[Cc]ommunication failure|[Nn]o free connections|no response|End of File"
)
# qstat prints the jobs it knows, and fails with this for those it does not: their history is kept
# for two weeks at ALCF, and a routing queue may drop a job after qsub has given it an id.
UNKNOWN = re.compile("Unknown Job Id")
OVER = re.compile("Unknown Job Id|Job has finished")  # since qstat was asked


@dataclass(frozen=True)
class PbsScheduler(BatchSystem):
    """PBS through qsub, qselect, qstat and qdel; each call is one command for all jobs.

    It never ran on a real PBS: only tests check its commands. A job's name is its key: PBS accepts
    up to 230 letters, digits, "-", "_", "+" and "." (openpbs, ck_job_name.c).
    """

    NAME: ClassVar[str] = "pbs"
    SUFFIX: ClassVar[str] = "pbs"
    JOB_ID: ClassVar[str] = "$PBS_JOBID"
    AT_HAND: ClassVar[str] = "pbsnodes"

    timeout_seconds: float = 60.0

    def submit(self, job: Job, text: str, *, tried_since: float | None = None) -> str:
        """See `Scheduler.submit`."""
        return submit_once(
            job,
            text,
            tried_since=tried_since,
            find=self.find,
            ask=lambda: _job_id(self._call("qsub", str(job.script))),
        )

    def find(self, key: str, since: float) -> str | None:
        """See `Scheduler.find`; -x: jobs that are over too, as long as the server keeps them."""
        jobs = [
            JobHandle(id_, key, since) for id_ in self._call("qselect", "-x", "-N", key).split()
        ]
        known = [job.id for job, each in self.query(jobs).items() if each.key]
        return known[-1] if known else None

    def query(self, jobs: Iterable[JobHandle]) -> dict[JobHandle, JobStatus]:
        """See `Scheduler.query`."""
        wanted = list(dict.fromkeys(jobs))
        if not wanted:
            return {}
        ids = sorted({job.id for job in wanted})
        answer = self._call("qstat", "-x", "-f", "-F", "json", *ids, harmless=UNKNOWN)
        return matched(wanted, from_history(answer))

    def accounts(self) -> set[str] | None:
        """See `Scheduler.accounts`; PBS itself keeps no list of them."""
        return None

    def hosts(self, names: str) -> list[str]:
        """See `Scheduler.hosts`: "x1/0*64+x2/0*64" is x1 and x2."""
        return list(dict.fromkeys(each.split("/")[0] for each in names.split("+") if each))

    def cancel(self, jobs: Iterable[JobHandle]) -> None:
        """See `Scheduler.cancel`."""
        found = self.query(jobs).items()
        ids = [job.id for job, each in found if each.key and not each.state.is_over]
        if ids:
            self._call("qdel", *ids, harmless=OVER)

    def cluster(self) -> Cluster:
        """See `BatchSystem.cluster`."""
        return pbs_cluster.read(self._call)

    @classmethod
    def environment(cls) -> Mapping[str, str]:
        """See `BatchSystem.environment`; a controller that is a job itself passes nothing on."""
        return {key: value for key, value in os.environ.items() if not key.startswith("PBS_")}

    @classmethod
    def node_request(cls, node: NodeClass) -> str:
        """See `BatchSystem.node_request`."""
        return ", ".join(filter(None, (f"select=…:{node.constraint}", *node.directives)))

    def _call(self, *command: str, harmless: re.Pattern[str] | None = None) -> str:
        return call(command, self.environment(), self.timeout_seconds, NOT_NOW, harmless)


def _job_id(answer: str) -> str:
    """Return the job's id, "<number>.<server>", in what qsub prints.

    Raises:
        NotNowError: There is none.
    """
    if not re.fullmatch(r"\d+\.\S+", answer.strip()):
        message = f"qsub printed no job's id, but {answer.strip()!r}. Run the same command again."
        raise NotNowError(message)
    return answer.strip()
