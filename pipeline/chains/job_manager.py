"""The desk between the graph and the scheduler: every job passes here, and into the ledger."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.cost import node_hours
from pipeline.budget.guard import BudgetError, reserve
from pipeline.budget.ledger import Ledger
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import Kind, Record
from pipeline.campaign import Task
from pipeline.chains import entries, node_exclusion
from pipeline.chains.remaining_cost import to_come
from pipeline.job import Job, JobStatus, State
from pipeline.outcome import RunError
from pipeline.pace import link_seconds
from pipeline.planning.plan import PACK, PILOT, Plan, job_key, shares
from pipeline.scheduler import NotNowError, Scheduler, SchedulerError, render
from pipeline.site import Role, Site
from pipeline.writing import read_json

UNKNOWN_SECONDS = 300
TWIN = "+"  # between a key and the id of a second job that bears it
SILENT_SECONDS = 900
RECHECK_SECONDS = 86_400


class BackOff:
    """Keeps us from asking a full queue: for a polling interval, then for longer each time."""

    LONGEST = 20  # polling intervals

    def __init__(self, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self.message = ""
        self._intervals = 1
        self._until = 0.0

    def check(self) -> None:
        """Return if a submission may be tried.

        Raises:
            NotNowError: The last one was refused only just.
        """
        if self.holds:
            raise NotNowError(self.message)

    @property
    def holds(self) -> bool:
        """Whether it is too early to try again."""
        return clock.monotonic() < self._until

    def refused(self, error: Exception) -> None:
        """Note that a submission failed; only a queue that takes no more is waited for."""
        if isinstance(error, NotNowError):
            self.message = str(error)
            self._until = clock.monotonic() + self._intervals * self.interval_seconds
            self._intervals = min(2 * self._intervals, self.LONGEST)

    def accepted(self) -> None:
        """Note that a submission was taken."""
        self.message, self._intervals, self._until = "", 1, 0.0


class NoHoursError(NotNowError):
    """The cap has no room for a job yet: running ones are promised more than they will take."""


class StoppedError(RunError):
    """The controller stops before a job was submitted."""

    outcome = "stopped"


@dataclass(frozen=True)
class Share:
    """A link that is submitted, alone or as a part of a bundle: its job, and whose link it is."""

    link: Job
    stage: str
    task_key: str


class Desk:
    """Submits, watches and settles jobs; threads may share it.

    However many watch, the scheduler is asked once for all jobs in each polling interval.
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
        self._live: set[str] = set()
        self._known: dict[str, JobStatus] = {}
        self._unknown_since: dict[str, float] = {}
        self._asked_at = 0.0
        self._heard_at = clock.monotonic()
        self._stopping = threading.Event()
        self._full = BackOff(plan.site.poll_seconds)
        self._no_room = ""

    def role_of(self, account: Account) -> Role:
        """Return the nodes and queue that a job of the ledger used."""
        if account.stage in (PILOT, PACK):
            return self.plan.pilots(account.stage).role
        return self.plan.training_role

    def next_number(self, task_key: str) -> int:
        """Return the number of the task's next job: one more than have ended."""
        jobs = [each for each in self.ledger.of_task(task_key) if TWIN not in each.job_key]
        return 1 + sum(1 for job in jobs if job.end is not None)

    def submit(self, job: Job, *, stage: str, task_key: str) -> str:
        """Reserve the job's price, submit it unless it is there already, and return its id."""
        return self.submit_bundle(job, [Share(job, stage, task_key)])

    def submit_bundle(self, job: Job, shares: Sequence[Share]) -> str:
        """Reserve and submit a job that several links share, as `submit` does one of its own."""
        site, reserved = self.plan.site, self._reservations(job, shares)
        with self._lock:
            accounts = self.ledger.accounts()
            known = [accounts[each.job_key] for each in reserved if each.job_key in accounts]
            there = next((each.job_id for each in known if each.job_id), "")
            if there:
                for each in reserved:
                    if not (each.job_key in accounts and accounts[each.job_key].job_id):
                        self.ledger.append(entries.after(each, Kind.SUBMIT, there))
                self._live.add(there)
                return there
            self._full.check()
            if any(each.known_as != job.key for each in known) and self.recover():
                message = f"{job.key}: some of its links were submitted before; looked at again."
                raise NotNowError(message)
            held = {each.job_key for each in known if each.reserved_node_hours}
            missing = [each for each in reserved if each.job_key not in held]
            asked = {each.task: each.node_hours for each in reserved}
            rest = partial(to_come, self.plan, self.ledger, asked)
            self._no_room = ""
            try:
                reserve(self.ledger, missing, self.plan.asked.cap_node_hours, rest)
            except BudgetError as error:
                if job.pilot or not error.may_fit:
                    raise
                self._no_room = str(error)
                raise NoHoursError(self._no_room) from error
            count = site.nodes[job.node].count
            job = job.model_copy(update={"exclude": node_exclusion.excluded(self.plan.run, count)})
            _leave_traces(job)
            try:
                job_id = self.scheduler.submit(job, self.script(job, site), tried=bool(known))
            except Exception as error:
                self._full.refused(error)
                for each in reserved:
                    self.ledger.append(entries.after(each, Kind.RELEASE))
                raise
            self._full.accepted()
            for each in reserved:
                self.ledger.append(entries.after(each, Kind.SUBMIT, job_id))
            self._live.add(job_id)
        return job_id

    def _reservations(self, job: Job, shares: Sequence[Share]) -> list[Record]:
        """Return the record that reserves for each link its share of the job's price."""
        (first, *_) = shares
        role = self.plan.pilots(first.stage).role if job.pilot else self.plan.training_role
        seconds = job.walltime_minutes * 60
        price = node_hours(self.plan.site, role, nodes=job.nodes, seconds=seconds)
        return [
            Record(
                kind=Kind.RESERVE,
                site=self.plan.site.name,
                stage=each.stage,
                task=each.task_key,
                job_key=each.link.key,
                batch_key=job.key if job.parts else "",
                nodes=each.link.nodes,
                node_hours=price * each.link.nodes / job.nodes,
            )
            for each in shares
        ]

    def note_twin(
        self, job: Job, job_id: str, *, stage: str, task_key: str, batch_key: str = ""
    ) -> None:
        """Record a job that was submitted a second time under the key of `job`: it is charged too.

        It ends as it starts, and holds no hours beyond those seconds.
        """
        record = Record(
            kind=Kind.SUBMIT,
            site=self.plan.site.name,
            stage=stage,
            task=task_key,
            job_key=f"{job.key}{TWIN}{job_id}",
            job_id=job_id,
            batch_key=batch_key,
            nodes=job.nodes,
            note="submitted twice",
        )
        self.ledger.append(record)

    def room(self) -> int:
        """Return how many more jobs the queues of this site take from us, pilots kept room for.

        Pilots count where they wait: in the site's limit, and in the queue's if that is theirs. One
        training at a time has a place in any case.
        """
        site, qos = self.plan.site, self.plan.training_role.qos
        trainings = {each.job_id for each in self.unended() if each.stage not in (PILOT, PACK)}
        pilots = [self.plan.pilots(kind) for kind in self.plan.kinds]
        most = [site.submitted_jobs - sum(each.max_blocks for each in pilots)]
        of_queue = site.qos[qos].submitted_jobs if qos else None
        if of_queue is not None:
            same = sum(each.max_blocks for each in pilots if each.role.qos == qos)
            most.append(of_queue - same)
        return max(1, min(most)) - len(trainings)

    @property
    def heard_at(self) -> float:
        """When the scheduler last answered, by the clock of `now`."""
        return self._heard_at

    @property
    def waits_because(self) -> str:
        """Why a job was not taken only just, by the scheduler or the guard; empty if it was."""
        return self._full.message or self._no_room

    @property
    def is_full(self) -> bool:
        """Whether the queue took no job only just, so that none is tried yet."""
        return self._full.holds

    def waits(self, job_id: str) -> bool:
        """Whether the job waited in the queue when the scheduler was last asked."""
        known = self._known.get(job_id)
        return known is not None and known.state is State.PENDING

    def submit_patiently(self, job: Job, *, stage: str, task_key: str) -> str:
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
        """Return the seconds of a clock that never goes back."""
        return clock.monotonic()

    def status(self, job_id: str) -> JobStatus:
        """Return what the scheduler said of the job, at most one polling interval ago."""
        with self._lock:
            self._live.add(job_id)
            self.refresh()
            return self._known.get(job_id) or JobStatus(id=job_id, key="", state=State.UNKNOWN)

    def is_lost(self, job_id: str) -> bool:
        """Whether the scheduler answers, and has not heard of the job for minutes."""
        if self.status(job_id).state is not State.UNKNOWN:
            self._unknown_since.pop(job_id, None)
            return False
        since = self._unknown_since.setdefault(job_id, self.now())
        return self.heard_at - since > UNKNOWN_SECONDS

    def refresh(self) -> None:
        """Ask for all jobs that have not ended, once in a polling interval; settle what has.

        Jobs that nobody watches are among them, pilots and links that others submitted: what they
        hold, hours and places in the queue, is free when they have ended.
        """
        with self._lock:
            if clock.monotonic() - self._asked_at <= self.plan.site.poll_seconds:
                return
            unended = {each.job_id for each in self.unended()}
            self._live |= unended
            told = self._asked()
            self._known |= told
            self._asked_at = clock.monotonic()
            over = {job_id for job_id, each in told.items() if each.state.is_over}
            self._live -= over
            if over & unended:
                self.settle(sorted(over & unended))

    def _asked(self) -> dict[str, JobStatus]:
        """Return the status of all live jobs; none while the scheduler does not answer.

        Accounting has short outages; only one that outlasts `SILENT_SECONDS` is an error.
        """
        try:
            found = self.scheduler.query(sorted(self._live))
        except SchedulerError:
            if clock.monotonic() - self._heard_at > SILENT_SECONDS:
                raise
            return {}
        self._heard_at = clock.monotonic()
        return found

    def stop(self) -> None:
        """Submit nothing more; jobs go on, and a next controller finds them."""
        self._stopping.set()

    def recover(self) -> int:
        """Note the ids of jobs that were submitted though nobody heard so; return how many."""
        with self._lock:
            lost = [
                each
                for each in self.ledger.accounts().values()
                if each.site == self.plan.site.name
                and not each.job_id
                and each.end is None
                and each.state in ("reserved", "released")
            ]
            found = {key: self.scheduler.find(key) for key in {each.known_as for each in lost}}
            for each in lost:
                job_id = found[each.known_as]
                if job_id:
                    self.ledger.append(entries.submitted(each, job_id))
            return sum(job_id is not None for job_id in found.values())

    def settle(self, job_ids: Sequence[str] | None = None) -> list[Record]:
        """Bring the ledger up to the scheduler's accounting: of some jobs, or of all unended."""
        with self._lock:
            if job_ids is None:
                accounts = self.unended()
            else:
                accounts = self.ledger.of_jobs(self.plan.site.name, job_ids)
            if not accounts:
                return []
            ids = [each.job_id for each in accounts]
            known = {i: self._known[i] for i in ids if i in self._known}
            if all(i in known and known[i].state.is_over for i in ids):
                statuses = known
            else:
                statuses = self.scheduler.query(ids)
            found = {a.job_key: statuses[a.job_id] for a in accounts if a.job_id in statuses}
            return reconcile(self.ledger, found, self.plan.site, self.role_of)

    def recheck(self) -> list[Record]:
        """Ask once more for jobs that ended lately, and correct the ledger; return by what.

        Slurm takes back what accounting said: of a controller that was killed, jobs end at that
        moment, until it is back and knows better. Accounting that is silent now is left alone.
        """
        since = clock.time() - RECHECK_SECONDS
        here = [
            each for each in self.ledger.accounts().values() if each.site == self.plan.site.name
        ]
        lately = [each for each in here if each.job_id and each.end and each.end > since]
        try:
            told = self.scheduler.query(sorted({each.job_id for each in lately})) if lately else {}
        except SchedulerError:
            return []
        found = {each.job_key: told[each.job_id] for each in lately if each.job_id in told}
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
                seconds=round(result.get("seconds") or link_seconds(folder)),
                state=State.COMPLETED,
                note=f"in {shared}s",
            )
            self.ledger.append(record)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs; return when they are over, or when nobody says so for minutes."""
        if not job_ids:
            return
        self.scheduler.cancel(job_ids)
        began = clock.monotonic()
        while clock.monotonic() < began + UNKNOWN_SECONDS:
            if all(self.status(job_id).state.is_over for job_id in job_ids):
                break
            clock.sleep(self.plan.site.poll_seconds / 2)
        self.settle(job_ids)
        if self._heard_at > began:
            self.give_up([each for each in job_ids if self.status(each).state is State.UNKNOWN])

    def give_up(self, job_ids: Sequence[str]) -> None:
        """Record the end of jobs that the scheduler, asked for minutes, does not know.

        They hold no hours any more, and their keys are used up: a Slurm whose controller was killed
        may forget a job. Should accounting tell of it later, `recheck` corrects the ledger.
        """
        with self._lock:
            for each in self.ledger.of_jobs(self.plan.site.name, job_ids):
                if each.end is None:
                    self.ledger.append(entries.forgotten(each))
            self._live.difference_update(job_ids)

    def unended(self, *stages: str) -> list[Account]:
        """Return the submitted jobs of this site, of some stages or all, that have not ended."""
        found = self.ledger.unended(self.plan.site.name)
        return [each for each in found if not stages or each.stage in stages]


def _leave_traces(job: Job) -> None:
    """Let each part of a bundle find its script among its own logs, and have a folder for them."""
    for part in job.parts:
        part.folder.mkdir(parents=True, exist_ok=True)
        part.script.unlink(missing_ok=True)
        part.script.symlink_to(os.path.relpath(job.script, part.folder))
