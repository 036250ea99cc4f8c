"""Jobs on PBS Professional, through its own commands.

PSI/J has an executor for PBS too, and keeps a job's life in the process that submitted it; here any
process finds any job again by its key, so it would have served as a way to call three commands.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.job import Job, JobStatus, State
from pipeline.run import write_text
from pipeline.scheduler.commands import call
from pipeline.scheduler.interface import NotNowError
from pipeline.scheduler.pbs_history import from_history

# What qsub prints where a limit on queued jobs is reached, and any command where the server is away
# (PBS Professional 2022.1 Administrator's Guide, "Managing User and Group Limits"; pbs_error.h)
NOT_NOW = re.compile(
    "would exceed .* limit|[Cc]annot connect|Connection refused|[Cc]ommunication failure"
    "|no response|End of File"
)


@dataclass(frozen=True)
class PbsScheduler:
    """A `Scheduler` by qsub, qselect, qstat and qdel; each call is one command for all jobs.

    It never ran on a real PBS: its commands are held by tests alone.
    """

    timeout_seconds: float = 60.0

    def submit(self, job: Job, text: str, *, tried: bool = True) -> str:
        """See `Scheduler.submit`."""
        known = self.find(job.key) if tried else None
        if known is not None:
            return known
        write_text(job.script, text)
        try:
            return _job_id(self._call("qsub", str(job.script)))
        except NotNowError:
            taken = self.find(job.key)
            if taken is None:
                raise
            return taken

    def find(self, key: str) -> str | None:
        """See `Scheduler.find`; -x: jobs that are over too, as long as the server keeps them."""
        ids = self._call("qselect", "-x", "-N", key).split()
        return ids[-1] if ids else None

    def query(self, ids: Iterable[str]) -> dict[str, JobStatus]:
        """See `Scheduler.query`."""
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        told = from_history(self._call("qstat", "-x", "-f", "-F", "json", *wanted))
        unknown = {id_: JobStatus(id=id_, key="", state=State.UNKNOWN) for id_ in wanted}
        return {id_: told.get(id_, unknown[id_]) for id_ in wanted}

    def accounts(self) -> set[str] | None:
        """See `Scheduler.accounts`; PBS itself keeps no list of them."""
        return None

    def hosts(self, names: str) -> list[str]:
        """See `Scheduler.hosts`: "x1/0*64+x2/0*64" is x1 and x2."""
        return list(dict.fromkeys(each.split("/")[0] for each in names.split("+") if each))

    def cancel(self, ids: Iterable[str]) -> None:
        """See `Scheduler.cancel`."""
        wanted = [id_ for id_, each in self.query(ids).items() if not each.state.is_over]
        if wanted:
            self._call("qdel", *wanted)

    def _call(self, *command: str) -> str:
        """Return what `command` prints; a controller that is a job itself passes nothing on."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PBS_")}
        return call(command, kept, self.timeout_seconds, NOT_NOW)


def _job_id(answer: str) -> str:
    """Return the job's id, "<number>.<server>", in what qsub prints.

    Raises:
        NotNowError: There is none.
    """
    if not re.fullmatch(r"\d+\.\S+", answer.strip()):
        message = f"qsub printed no job's id, but {answer.strip()!r}. Run the same command again."
        raise NotNowError(message)
    return answer.strip()
