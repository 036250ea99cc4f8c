"""What every scheduler can do for the pipeline."""

from collections.abc import Iterable
from typing import Protocol

from pipeline.job import Job, JobStatus


class SchedulerError(RuntimeError):
    """The scheduler refused or did not answer; the message holds its own words and what to do."""

    outcome = "scheduler"


class NotNowError(SchedulerError):
    """The queue takes no more jobs at present, or nobody answers: the same call may pass later."""


class Scheduler(Protocol):
    """A way to run jobs; all truth about a job is with the scheduler, none in this object."""

    def submit(self, job: Job, text: str, *, tried: bool = True) -> str:
        """Write `text` as the job's script, submit it and return the job's id.

        A job whose key is known already, live or over, is not submitted again: its id comes back.
        Where nobody has `tried` to submit it before, that is not looked up.

        Raises:
            NotNowError: The queue is full, or nobody knows whether the job was taken.
            SchedulerError: The job was refused.
        """
        ...

    def find(self, key: str) -> str | None:
        """Return the id of the job with the idempotency key `key`, None if there is none."""
        ...

    def query(self, ids: Iterable[str]) -> dict[str, JobStatus]:
        """Return the status of each of `ids`; a job not yet in the accounting is UNKNOWN.

        Raises:
            SchedulerError: The scheduler does not answer; ask again.
        """
        ...

    def accounts(self) -> set[str] | None:
        """Return the accounts that this user may charge, None where the scheduler has no such list.

        Raises:
            SchedulerError: The scheduler does not say.
        """
        ...

    def hosts(self, names: str) -> list[str]:
        """Return each node in `JobStatus.node_names`; none where the scheduler has no such names.

        Raises:
            SchedulerError: The scheduler refuses.
        """
        ...

    def cancel(self, ids: Iterable[str]) -> None:
        """End the jobs `ids`; those that are over stay as they are.

        Raises:
            SchedulerError: The scheduler refuses.
        """
        ...
