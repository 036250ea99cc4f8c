"""The desk between the graph and the scheduler: every job passes here, and into the ledger."""

import threading
import time
from collections.abc import Callable, Sequence

from pipeline.budget.account import Account
from pipeline.budget.cost import node_hours
from pipeline.budget.guard import check
from pipeline.budget.ledger import Ledger
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import Kind, Record
from pipeline.campaign import Task
from pipeline.job import Job, JobStatus, State
from pipeline.run import RunError, read_json
from pipeline.scheduler import Scheduler, SchedulerError, render
from pipeline.site import Role
from pipeline.workflow.plan import PILOT, Plan, job_key, runs_in_pilot

UNKNOWN_SECONDS = 300
SILENT_SECONDS = 900


class StoppedError(RunError):
    """The controller stops before the job that it watched has ended."""


class Desk:
    """Submits, watches and settles jobs; threads may share it.

    However many watch, the scheduler is asked once for all jobs in each polling interval.
    """

    def __init__(self, plan: Plan, scheduler: Scheduler) -> None:
        self.plan = plan
        self.scheduler = scheduler
        self.ledger = Ledger(plan.run.ledger)
        self._lock = threading.RLock()
        self._live: set[str] = set()
        self._known: dict[str, JobStatus] = {}
        self._asked_at = 0.0
        self._heard_at = time.monotonic()
        self._stopping = threading.Event()

    def role_of(self, account: Account) -> Role:
        """Return the nodes and queue that a job of the ledger used."""
        return self.plan.site.pilot.role if account.stage == PILOT else self.plan.training_role

    def next_number(self, task_key: str) -> int:
        """Return the number of the task's next job: one more than have ended."""
        jobs = [each for each in self.ledger.accounts().values() if each.task == task_key]
        return 1 + sum(1 for job in jobs if job.end is not None)

    def submit(self, job: Job, *, stage: str, task_key: str) -> str:
        """Reserve the job's price, submit it unless it is there already, and return its id."""
        role = self.plan.site.pilot.role if job.pilot else self.plan.training_role
        site = self.plan.site
        price = node_hours(site, role, nodes=job.nodes, seconds=job.walltime_minutes * 60)
        record = Record(
            kind=Kind.RESERVE,
            site=site.name,
            stage=stage,
            task=task_key,
            job_key=job.key,
            nodes=job.nodes,
            node_hours=price,
        )
        with self._lock:
            known = self.ledger.accounts().get(job.key)
            if known is None or not known.reserved_node_hours:
                self._guard(price)
                self.ledger.append(record)
            try:
                job_id = self.scheduler.submit(job, render(job, site))
            except Exception:
                self.ledger.append(_after(record, Kind.RELEASE))
                raise
            if known is None or not known.job_id:
                self.ledger.append(_after(record, Kind.SUBMIT, job_id))
            self._live.add(job_id)
            self._asked_at = 0.0
        return job_id

    def _guard(self, price: float) -> None:
        """Refuse a job that would go beyond the cap, if there is one."""
        cap = self.plan.asked.cap_node_hours
        if cap is not None:
            site = self.plan.site.name
            check(self.ledger, site, new_node_hours=price, cap_node_hours=cap)

    def status(self, job_id: str) -> JobStatus:
        """Return what the scheduler said of the job, at most one polling interval ago."""
        with self._lock:
            self._live.add(job_id)
            if time.monotonic() - self._asked_at > self.plan.site.poll_seconds:
                self._known |= self._asked()
                self._asked_at = time.monotonic()
                self._live -= {key for key, each in self._known.items() if each.state.is_over}
            unknown = JobStatus(id=job_id, key="", state=State.UNKNOWN)
            return self._known.get(job_id, unknown)

    def _asked(self) -> dict[str, JobStatus]:
        """Return the status of all live jobs; none while the scheduler does not answer.

        Accounting has short outages; only one that outlasts `SILENT_SECONDS` is an error.
        """
        try:
            found = self.scheduler.query(sorted(self._live))
        except SchedulerError:
            if time.monotonic() - self._heard_at > SILENT_SECONDS:
                raise
            return {}
        self._heard_at = time.monotonic()
        return found

    def wait(
        self, job_id: str, *, is_lost: Callable[[JobStatus], bool] = lambda _: False
    ) -> JobStatus:
        """Return the job's last status, when it is over; its hours are in the ledger then.

        A job that `is_lost` though it runs is cancelled.

        Raises:
            StoppedError: The controller stops watching; the job goes on.
        """
        unknown_since = None
        while not self._stopping.is_set():
            status = self.status(job_id)
            if status.state.is_over:
                self.settle([job_id])
                return status
            if is_lost(status):
                self.cancel([job_id])
                continue
            if status.state is not State.UNKNOWN:
                unknown_since = None
            elif unknown_since is None:
                unknown_since = time.monotonic()
            elif time.monotonic() - unknown_since > UNKNOWN_SECONDS:
                return status
            self._stopping.wait(self.plan.site.poll_seconds / 2)
        message = f"{job_id}: not watched any more; it goes on."
        raise StoppedError(message)

    def stop(self) -> None:
        """Let every watcher end; jobs go on, and a next controller finds them."""
        self._stopping.set()

    def settle(self, job_ids: Sequence[str] | None = None) -> list[Record]:
        """Bring the ledger up to the scheduler's accounting: of some jobs, or of all unended."""
        with self._lock:
            accounts = [
                each
                for each in self.ledger.accounts().values()
                if each.job_id
                and each.site == self.plan.site.name
                and (each.job_id in job_ids if job_ids is not None else each.end is None)
            ]
            if not accounts:
                return []
            statuses = self.scheduler.query([each.job_id for each in accounts])
            found = {a.job_key: statuses[a.job_id] for a in accounts if a.job_id in statuses}
            return reconcile(self.ledger, found, self.plan.site, self.role_of)

    def note_pilot_tasks(self, tasks: Sequence[Task]) -> None:
        """Record each finished task that ran in a pilot, once: its seconds, and no charge.

        The pilots are jobs of their own and carry the charge; these records say who used them.
        """
        known = self.ledger.accounts()
        for task in tasks:
            folder = self.plan.run.task(task.key)
            key = job_key(self.plan.run, task.key, 1)
            result = read_json(folder.result) if folder.is_done else None
            if result is None or key in known or not runs_in_pilot(task):
                continue
            record = Record(
                kind=Kind.END,
                time=folder.done.stat().st_mtime,
                site=self.plan.site.name,
                stage=task.stage,
                task=task.key,
                job_key=key,
                seconds=round(result["seconds"]),
                state=State.COMPLETED,
                note="in pilots",
            )
            self.ledger.append(record)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs; return when they are over, or when nobody says so for minutes."""
        if not job_ids:
            return
        self.scheduler.cancel(job_ids)
        deadline = time.monotonic() + UNKNOWN_SECONDS
        while time.monotonic() < deadline:
            if all(self.status(job_id).state.is_over for job_id in job_ids):
                break
            time.sleep(self.plan.site.poll_seconds / 2)
        self.settle(job_ids)

    def unended(self, stage: str | None = None) -> list[Account]:
        """Return the submitted jobs of this site, of one stage or all, that have not ended."""
        return [
            each
            for each in self.ledger.accounts().values()
            if each.site == self.plan.site.name
            and each.job_id
            and each.end is None
            and stage in (None, each.stage)
        ]


def _after(record: Record, kind: Kind, job_id: str = "") -> Record:
    """Return a record of another kind for the job of `record`, now."""
    changes = {"kind": kind, "time": time.time(), "job_id": job_id, "node_hours": 0.0}
    return record.model_copy(update=changes)
