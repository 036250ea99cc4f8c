"""The job manager: submits jobs, polls the scheduler, and settles the ledger with accounting."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from pipeline import claims, clock, records
from pipeline.budget.account import DUPLICATE, Account
from pipeline.budget.cost import node_hours
from pipeline.budget.guard import BudgetError, reserve
from pipeline.budget.ledger import Ledger
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import Kind, Record
from pipeline.campaign import Task
from pipeline.chains import ledger_records, node_exclusion, waiting
from pipeline.chains.back_off import BackOff
from pipeline.chains.remaining_cost import remaining
from pipeline.chains.submission import (
    NoHoursError,
    Share,
    StoppedError,
    link_scripts,
    reservations,
)
from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.pace import link_seconds, links
from pipeline.planning.plan import PACK, PILOT, Plan, Step, job_key, shares
from pipeline.records import Ending
from pipeline.scheduler import NotNowError, Scheduler, SchedulerError, render
from pipeline.site import Pilot, Role, Site

UNKNOWN_SECONDS = 300  # after which a job that an answering scheduler does not know is lost
# The same where its id is another job's: a scheduler that lost its state gives ids anew.
ANOTHER_SECONDS = 30
OUTAGE_SECONDS = 900  # after which a scheduler that does not answer is an error
RECHECK_SECONDS = 86_400


class JobManager:
    """Submits, polls and settles the jobs of a campaign; threads may share it.

    It asks the scheduler once per polling interval, for all jobs together, however many callers
    watch them.
    """

    def __init__(
        self,
        plan: Plan,
        scheduler: Scheduler,
        ledger: Ledger | None = None,
        script: Callable[[Job, Site], str] = render,
    ) -> None:
        self.plan = plan
        self.scheduler = scheduler
        self.script = script
        self.ledger = ledger or Ledger(plan.run.ledger)
        self._lock = threading.RLock()
        self._handles: dict[str, JobHandle] = {}
        self._live: set[str] = set()
        self._statuses: dict[str, JobStatus] = {}
        self._unknown_since: dict[str, float] = {}
        self._polled_at = 0.0
        self._answered_at = clock.monotonic()
        self._stopping = threading.Event()
        self._queue = BackOff(plan.site.poll_seconds)
        self._over_cap = ""
        self.waits: waiting.Waits = {}  # at the last poll

    def role_of(self, account: Account) -> Role:
        """Return the nodes and queue that a job of the ledger used."""
        return self.plan.role(account.stage, account.qos)

    def next_number(self, task_key: str) -> int:
        """Return the number of the task's next job: one more than the jobs that have ended."""
        jobs = [each for each in self.ledger.of_task(task_key) if DUPLICATE not in each.job_key]
        return 1 + sum(1 for job in jobs if job.end is not None)

    def submit(self, job: Job, *, stage: str, task_key: str) -> str:
        """Reserve the job's price, submit it unless it was submitted before, and return its id."""
        return self.submit_bundle(job, [Share(job, stage, task_key)])

    def submit_bundle(self, job: Job, shares: Sequence[Share]) -> str:
        """Reserve and submit a job that several links share, as `submit` does for a single link.

        Raises:
            NotNowError: The queue is full, or the cap has no room yet: try again later.
            BudgetError: The job can never fit under the cap.
            SchedulerError: The scheduler refused the job.
            SupersededError: Another controller has taken over.
        """
        claims.confirm()
        records = reservations(self.plan, job, shares)
        with self._lock:
            accounts = self.ledger.accounts()
            known = {
                key: accounts[key] for key in (each.job_key for each in records) if key in accounts
            }
            job_id = next((each.job_id for each in known.values() if each.job_id), "")
            if job_id:
                self._add_missing_submissions(records, known, job_id)
                return job_id
            self._queue.check()
            self._check_not_in_another_job(job, known.values())
            self._reserve(job, records)
            tried_since = min((each.since for each in known.values()), default=None)
            return self._submit(job, records, tried_since)

    def submit_links(self, links: Sequence[tuple[Step, int]], *, after: str = "") -> str:
        """Submit the links, each a (step, number), as one job, `after` the job of that id."""
        plan = self.plan
        job = plan.bundle(links).model_copy(update={"after": after})
        shares = [
            Share(plan.link(step, number), step.task.stage, step.task.key) for step, number in links
        ]
        return self.submit_bundle(job, shares)

    def _add_missing_submissions(
        self, records: Sequence[Record], known: Mapping[str, Account], job_id: str
    ) -> None:
        """Record the submission of those links of job `job_id` for which nobody did so."""
        for each in records:
            if each.job_key not in known or not known[each.job_key].job_id:
                self.ledger.append(ledger_records.following(each, Kind.SUBMIT, job_id))
        self._live.add(job_id)

    def _check_not_in_another_job(self, job: Job, known: Iterable[Account]) -> None:
        """Check that no link of `job` was submitted before, in another job.

        Raises:
            NotNowError: The scheduler has such a job, which the ledger knows from now on.
        """
        if any(each.known_as != job.key for each in known) and self.recover():
            message = f"{job.key}: one of its links is already in another job. Trying again."
            raise NotNowError(message)

    def _reserve(self, job: Job, records: Sequence[Record]) -> None:
        """Reserve those of the `records` of `job` that are not reserved yet.

        Raises:
            NoHoursError: The cap has no room yet.
            BudgetError: The cap has no room for a pilot, or never will for this job.
        """
        requested = {each.task: each.node_hours for each in records}
        rest = partial(remaining, self.plan, self.ledger, requested)
        self._over_cap = ""
        try:
            reserve(self.ledger, records, self.plan.options.cap_node_hours, rest)
        except BudgetError as error:
            if job.pilot or not error.may_fit:
                raise
            self._over_cap = str(error)
            raise NoHoursError(self._over_cap) from error

    def _submit(self, job: Job, records: Sequence[Record], tried_since: float | None) -> str:
        """Submit `job` and return its id; release its reservation if that fails."""
        count = self.plan.site.nodes[job.node].count
        job = job.model_copy(update={"exclude": node_exclusion.excluded(self.plan.run, count)})
        link_scripts(job)
        claims.confirm()  # who was superseded does not release what its successor reserved
        try:
            text = self.script(job, self.plan.site)
            job_id = self.scheduler.submit(job, text, tried_since=tried_since)
        except Exception as error:
            self._queue.refused(error)
            for each in records:
                self.ledger.append(ledger_records.following(each, Kind.RELEASE))
            raise
        self._queue.accepted()
        for each in records:
            self.ledger.append(ledger_records.following(each, Kind.SUBMIT, job_id))
        self._handles.pop(job_id, None)  # an id may be that of an earlier job of ours
        self._statuses.pop(job_id, None)
        self._live.add(job_id)
        return job_id

    def record_duplicate(
        self,
        job: Job,
        job_id: str,
        *,
        stage: str,
        task_key: str,
        batch_key: str = "",
        nodes: float | None = None,
    ) -> None:
        """Record a second job that was submitted under the key of `job`: it is charged as well.

        A part of a bundle is charged for its share, `nodes`.

        It ends as soon as it starts, and reserves no hours beyond those seconds. It was submitted
        at an unknown time since the reservation.
        """
        first = self.ledger.accounts().get(job.key)
        record = Record(
            kind=Kind.SUBMIT,
            time=first.since if first is not None else clock.time(),
            site=self.plan.site.name,
            stage=stage,
            task=task_key,
            job_key=f"{job.key}{DUPLICATE}{job_id}",
            job_id=job_id,
            batch_key=batch_key,
            qos=job.qos,
            nodes=job.nodes if nodes is None else nodes,
            note="submitted twice",
        )
        self.ledger.append(record)

    def room(self, qos: str) -> int:
        """Return how many more jobs of trainings the queue `qos` accepts, less those for pilots.

        Pilots count against the site's limit, and against the queue's if they wait in that queue.
        One training always has room.
        """
        site = self.plan.site
        trainings = [each for each in self.unended() if each.stage not in (PILOT, PACK)]
        pilots = [self.plan.pilots(kind) for kind in self.plan.kinds]
        room = _room(site.submitted_jobs, trainings, pilots)
        of_queue = site.qos[qos].submitted_jobs if qos else None
        if of_queue is None:
            return room
        here = [each for each in trainings if self.role_of(each).qos == qos]
        return min(room, _room(of_queue, here, [each for each in pilots if each.role.qos == qos]))

    @property
    def answered_at(self) -> float:
        """When the scheduler last answered, by the clock of `now`."""
        return self._answered_at

    @property
    def refusal(self) -> str:
        """Why the queue or the guard refused the last submission; empty if neither did."""
        return self._queue.message or self._over_cap

    @property
    def is_full(self) -> bool:
        """Whether the queue refused the last submission, and the delay is not over."""
        return self._queue.holds

    def is_pending(self, job_id: str) -> bool:
        """Whether the job waited in the queue at the last poll."""
        known = self._statuses.get(job_id)
        return known is not None and known.state is State.PENDING

    def submit_when_possible(self, job: Job, *, stage: str, task_key: str) -> str:
        """Submit as `submit` does, but wait while the queue is full.

        Raises:
            StoppedError: The controller stops first.
        """
        while not self._stopping.is_set():
            try:
                return self.submit(job, stage=stage, task_key=task_key)
            except NotNowError:
                self._stopping.wait(self.plan.site.poll_seconds)
        message = f"{job.key}: not submitted, because the controller stops."
        raise StoppedError(message)

    @staticmethod
    def now() -> float:
        """Return the seconds of a clock that never runs backwards."""
        return clock.monotonic()

    def status(self, job_id: str) -> JobStatus:
        """Return the status of a job, at most one polling interval old."""
        with self._lock:
            self._live.add(job_id)
            self.poll()
            return self._statuses.get(job_id) or JobStatus(id=job_id, key="", state=State.UNKNOWN)

    def _handle(self, job_id: str) -> JobHandle:
        """Return the newest job of this campaign with that id."""
        if job_id not in self._handles:
            accounts = self.ledger.of_jobs(self.plan.site.name, [job_id])
            self._handles |= {each.job_id: each.handle for each in accounts}
        return self._handles.get(job_id, JobHandle(job_id, ""))

    def is_lost(self, job_id: str) -> bool:
        """Whether the scheduler answers, and has not known the job for `UNKNOWN_SECONDS`.

        If it knows another one with its id, a tenth of that will do; and nothing where the job is
        gone for certain.
        """
        status = self.status(job_id)
        if status.state is not State.UNKNOWN:
            self._unknown_since.pop(job_id, None)
            return False
        if status.is_gone:
            return True
        since = self._unknown_since.setdefault(job_id, self.now())
        limit = ANOTHER_SECONDS if status.is_another else UNKNOWN_SECONDS
        return self.answered_at - since > limit

    def poll(self) -> None:
        """Query all jobs that have not ended, once per polling interval; settle those that have.

        This includes jobs that nobody watches: pilots, and links that other processes submitted.
        Their node-hours and places in the queue become free when they end.
        """
        with self._lock:
            if clock.monotonic() - self._polled_at <= self.plan.site.poll_seconds:
                return
            jobs = self.ledger.unsettled(self.plan.site.name)
            self._handles |= {each.job_id: each.handle for each in jobs}
            unended = {each.job_id for each in jobs}
            self._live |= unended
            statuses = self._query()
            self.waits = waiting.waits(jobs, statuses)
            found = {job.id: each for job, each in statuses.items()}
            self._statuses |= found
            self._polled_at = clock.monotonic()
            over = {job_id for job_id, each in found.items() if each.state.is_over}
            self._live -= over
            if over & unended:
                self.settle(sorted(over & unended))

    def _query(self) -> dict[JobHandle, JobStatus]:
        """Return the status of all live jobs, or none while the scheduler does not answer.

        Accounting has short outages; only one that outlasts `OUTAGE_SECONDS` is an error.
        """
        try:
            found = self.scheduler.query(self._handle(job_id) for job_id in sorted(self._live))
        except SchedulerError:
            if clock.monotonic() - self._answered_at > OUTAGE_SECONDS:
                raise
            return {}
        self._answered_at = clock.monotonic()
        return found

    def stop(self) -> None:
        """Submit no more jobs; submitted ones continue, and the next controller finds them."""
        self._stopping.set()

    def recover(self) -> int:
        """Record the ids of jobs whose submission was never answered; return how many."""
        with self._lock:
            unanswered = [
                each
                for each in self.ledger.accounts().values()
                if each.site == self.plan.site.name
                and not each.job_id
                and each.end is None
                and each.state in ("reserved", "released")
            ]
            newest_first = sorted(unanswered, key=lambda each: each.since, reverse=True)
            since = {each.known_as: each.since for each in newest_first}
            found = {key: self.scheduler.find(key, first) for key, first in since.items()}
            for each in unanswered:
                job_id = found[each.known_as]
                if job_id:
                    self.ledger.append(ledger_records.found_again(each, job_id))
            return sum(job_id is not None for job_id in found.values())

    def settle(self, job_ids: Sequence[str] | None = None) -> list[Record]:
        """Bring the ledger up to the scheduler's accounting, for `job_ids` or all open ends."""
        with self._lock:
            if job_ids is None:
                accounts = self.ledger.unsettled(self.plan.site.name)
            else:
                accounts = self.ledger.of_jobs(self.plan.site.name, job_ids)
            if not accounts:
                return []
            statuses = {
                each.handle: self._statuses[each.job_id]
                for each in accounts
                if each.job_id in self._statuses
                and self._statuses[each.job_id].key == each.known_as
            }
            if not all(
                each.handle in statuses and statuses[each.handle].state.is_over for each in accounts
            ):
                statuses = self.scheduler.query(each.handle for each in accounts)
            return self._reconcile(accounts, statuses)

    def _reconcile(
        self, accounts: Sequence[Account], statuses: Mapping[JobHandle, JobStatus]
    ) -> list[Record]:
        """Bring the accounts up to what is known of their jobs; return the new records."""
        found = {a.job_key: statuses[a.handle] for a in accounts if a.handle in statuses}
        return reconcile(self.ledger, found, self.plan.site, self.role_of)

    def recheck(self) -> list[Record]:
        """Query the jobs that ended recently again; return the corrections to the ledger.

        Slurm revises its accounting: when a controller is killed, its jobs end at that moment until
        the controller is back. An accounting that does not answer changes nothing.
        """
        since = clock.time() - RECHECK_SECONDS
        here = [
            each for each in self.ledger.accounts().values() if each.site == self.plan.site.name
        ]
        recent = [each for each in here if each.job_id and each.end and each.end > since]
        if not recent:
            return []
        try:
            statuses = self.scheduler.query(each.handle for each in recent)
        except SchedulerError:
            return []
        return self._reconcile(recent, statuses)

    def record_pilot_tasks(self, tasks: Sequence[Task]) -> None:
        """Record each finished task that ran in a pilot, once: its seconds, and no charge.

        Pilots are jobs of their own and carry the charge; these records say which tasks used them.
        """
        known = self.ledger.accounts()
        for task in tasks:
            folder = self.plan.run.task(task.key)
            key = job_key(self.plan.run, task.key, 1)
            result = records.read(folder.result, Ending) if folder.is_done else None
            shared = shares(task, self.plan.site, self.plan.training_role)
            if result is None or key in known or not shared:
                continue
            record = Record(
                kind=Kind.END,
                time=folder.done.stat().st_mtime,
                site=self.plan.site.name,
                stage=task.stage,
                task=task.key,
                job_key=key,
                batch_key=shared,
                seconds=round(result.seconds or link_seconds(folder)),
                state=State.COMPLETED,
                note=f"in {shared}s",
            )
            self.ledger.append(record)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs; return when they have ended or are lost, or after `UNKNOWN_SECONDS`."""
        if not job_ids:
            return
        self.request_cancel(job_ids)
        began = clock.monotonic()
        while clock.monotonic() < began + UNKNOWN_SECONDS:
            if all(self.status(each).state.is_over or self.is_lost(each) for each in job_ids):
                break
            clock.sleep(self.plan.site.poll_seconds / 2)
        self.settle(job_ids)
        unknown = [each for each in job_ids if self.status(each).state is State.UNKNOWN]
        answered = self._answered_at > began
        self.record_lost([each for each in unknown if answered or self.is_lost(each)])

    def request_cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs without waiting for their end."""
        claims.confirm()
        with self._lock:
            self.scheduler.cancel([self._handle(job_id) for job_id in job_ids])

    def record_lost(self, job_ids: Sequence[str]) -> None:
        """Record the end of jobs that the scheduler no longer knows.

        They reserve no hours any more, and their keys are used up: a Slurm whose controller was
        killed may forget a job. What their links recorded is charged. Should accounting report one
        later, `recheck` corrects the ledger.
        """
        with self._lock:
            for each in self.ledger.of_jobs(self.plan.site.name, job_ids):
                if each.end is None:
                    known = self._statuses.get(each.job_id)
                    why = known.reason if known is not None else ""
                    self.ledger.append(ledger_records.lost(each, why, *self._known_cost(each)))
            self._live.difference_update(job_ids)

    def _known_cost(self, account: Account) -> tuple[int, float]:
        """Return the seconds of a job by the records of its links, and their charge."""
        records = [
            each
            for each in links(self.plan.run.task(account.task))
            if each.key == account.job_key and self.plan.site.charges_lost_jobs
        ]
        seconds = round(sum(max(0.0, each.end - each.began) for each in records))
        role = self.role_of(account)
        return seconds, node_hours(self.plan.site, role, nodes=account.nodes, seconds=seconds)

    def unended(self, *stages: str) -> list[Account]:
        """Return the submitted jobs of this site, of some stages or all, that have not ended."""
        found = self.ledger.unended(self.plan.site.name)
        return [each for each in found if not stages or each.stage in stages]


def _room(most: int, trainings: Sequence[Account], pilots: Sequence[Pilot]) -> int:
    """Return how many more jobs of trainings go below a limit, with places kept for pilots."""
    kept = sum(each.max_blocks for each in pilots)
    return max(1, most - kept) - len({each.job_id for each in trainings})
