"""Why the jobs of a campaign wait in the queue, by task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.ledger import Ledger
from pipeline.campaign import Task
from pipeline.chains.progress import Progress
from pipeline.job import JobHandle, JobStatus, State
from pipeline.planning.plan import shares
from pipeline.run import Run
from pipeline.scheduler import SchedulerError, batch_system, connect
from pipeline.site import Site

Waits = Mapping[str, JobStatus]


def waits(accounts: Iterable[Account], statuses: Mapping[JobHandle, JobStatus]) -> Waits:
    """Return the status of each task's job that does not run, by task; that of pilots by kind.

    Of a chain's jobs the first counts: the others wait for its end. `accounts` are of jobs that
    have not ended, the oldest first.
    """
    first: dict[str, JobStatus] = {}
    for account in accounts:
        status = statuses.get(account.handle)
        if status is not None and not status.state.is_over:
            first.setdefault(account.task, status)
    return {task: each for task, each in first.items() if each.state is not State.RUNNING}


def explained(
    rows: Sequence[Progress], tasks: Sequence[Task], found: Waits, site: Site
) -> list[Progress]:
    """Return the rows with why their jobs, or the pilots that they need, do not run."""
    done = {row.key for row in rows if row.state == "done"}
    pairs = zip(rows, tasks, strict=True)
    return [_explained(row, _status(row, task, found, site, done)) for row, task in pairs]


def _status(
    row: Progress, task: Task, found: Waits, site: Site, done: set[str]
) -> JobStatus | None:
    """Return the status of the job for which a task waits; None if it waits for none."""
    if row.state in ("done", "failed"):
        return None
    if row.key in found:
        return found[row.key]
    is_next = row.state == "waiting" and done.issuperset(task.needs)
    return found.get(shares(task, site, site.training)) if is_next else None


def _explained(row: Progress, status: JobStatus | None) -> Progress:
    """Return `row` with what the scheduler says of its job."""
    if status is None:
        return row
    is_back = row.state == "running" and status.state is State.PENDING
    return replace(
        row,
        state="queued" if is_back else row.state,
        job_id=status.id,
        reason=status.reason,
        advice=status.advice,
        is_stuck=status.is_stuck,
    )


class Queue:
    """The queue of a site, queried for the jobs of a run at most once per polling interval.

    `problem` is why it does not answer, empty if it does or no query is needed.
    """

    def __init__(self, run: Run, site: Site) -> None:
        self.run, self.site = run, site
        self.problem = ""
        self._ledger = Ledger(run.ledger)
        self._waits: Waits = {}
        self._asked_at: float | None = None

    def waits(self) -> Waits:
        """Return why jobs wait, as `waits` does; empty where jobs have no queue."""
        now = clock.monotonic()
        is_due = self._asked_at is None or now - self._asked_at >= self.site.poll_seconds
        if is_due and batch_system(self.site).HAS_QUEUE:
            self._asked_at = now
            self._ask(self._ledger.unended(self.site.name))
        return self._waits

    def _ask(self, accounts: Sequence[Account]) -> None:
        """Ask the scheduler about some jobs, if there are any."""
        self.problem, self._waits = "", {}
        if not accounts:
            return
        try:
            statuses = connect(self.site, self.run).query(each.handle for each in accounts)
        except SchedulerError as error:
            self.problem = str(error)
        else:
            self._waits = waits(accounts, statuses)
