"""Rehearse a campaign: our planner, guard, chains and retries on a simulated machine."""

import io
import math
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path

import simpy

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.record import Kind, Record
from pipeline.budget.use import Use, uses
from pipeline.campaign import CHAINED, SimulateTask, StageTask
from pipeline.catalog import DeclarationError
from pipeline.chains.job_manager import JobManager
from pipeline.chains.watch import Watchers
from pipeline.job import Job, State
from pipeline.outcome import RunError
from pipeline.planning.pilots import MINUTES
from pipeline.planning.plan import PACK, PILOT, Plan, Step
from pipeline.rehearsal.links import Links, Work, start_up_minutes
from pipeline.rehearsal.machine import HOUR, Life, Machine, VirtualClock
from pipeline.rehearsal.memory import MemoryLedger
from pipeline.rehearsal.pilots import Pool
from pipeline.rehearsal.snapshot import Rates, Snapshot, StartState
from pipeline.run import Run
from pipeline.scheduler import batch_system
from pipeline.site import Site

TAKES = 0.85  # share of its declared walltime that a training takes, with start-ups: a guess
SPREAD = 0.05  # standard deviation of its logarithm: a guess
LONGEST_POLL = 6 * HOUR  # the longest time between two polls

Poll = Callable[[Snapshot], None]


@dataclass(frozen=True)
class Rehearsal:
    """How it went: the campaign's end, its bill, what that went into, and what was not done.

    `hours` from the start to the last task's end; `waited_hours` of all jobs together.
    """

    site: str
    hours: float
    node_hours: float
    planned_node_hours: float
    jobs: int
    links: int
    waited_hours: float
    uses: Sequence[Use]
    failed: Mapping[str, str] = field(default_factory=dict)
    accounts: Sequence[Account] = ()


def rehearse(
    plan: Plan,
    seed: int,
    *,
    rates: Rates | None = None,
    start: StartState | None = None,
    polls: Mapping[float, Poll] | None = None,
) -> Rehearsal:
    """Run the campaign of `plan` on a simulation of its site.

    Its files are written to a file system in memory, if the machine has one, and removed.

    Args:
        plan: The whole campaign.
        seed: The random seed.
        rates: Factors by which the site and the trainings differ from the assumptions.
        start: The state to start from; only the rest is rehearsed.
        polls: Called with a snapshot, each after its number of hours.

    Raises:
        DeclarationError: The site has no scheduler.
    """
    if not batch_system(plan.site).HAS_QUEUE:
        message = (
            f"{plan.site.name}: it has no queue, so there is nothing to rehearse. Run it instead."
        )
        raise DeclarationError(message)
    memory = Path("/dev/shm")  # noqa: S108 - Linux has a file system in memory there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        run = Run(Path(folder), plan.run.campaign)
        run.identify()
        rates, start = rates or Rates(), start or StartState()
        steps = [step for step in plan.steps if start.share(step.task.key) < 1]
        rest = replace(plan, run=run, site=rates.of(plan.site), steps=steps)
        play = _Play(rest, random.Random(seed), rates.work, start)  # noqa: S311 - dice
        for hours, poll in (polls or {}).items():
            play.env.process(play.poll_at(hours, poll))
        with clock.set_to(VirtualClock(play.env)), redirect_stderr(io.StringIO()):
            return play.result()


def work_minutes(site: Site, walltime_minutes: int) -> float:
    """Return what a training takes that declares such a walltime, without its links' start-ups."""
    return max(1.0, TAKES * walltime_minutes - start_up_minutes(site, walltime_minutes))


def _live(plan: Plan, start: StartState) -> dict[str, float | None]:
    """Return for how long each job has waited, by its key in the rest; None for one that runs."""
    found: dict[str, float | None] = {}
    for step in plan.steps:
        key = step.task.key
        if not step.in_pilot and key in start.running:
            found[plan.link(step, 1).key] = None
        elif not step.in_pilot and key in start.waited:
            found[plan.link(step, 1).key] = start.waited[key]
    for kind, pilots in start.pilots.items():
        for number, waited in enumerate(pilots, 1):
            found[plan.pilot((), number, kind).key] = waited
    return found


class _Play:
    """One rehearsal: the simulation, and the parts that play in it."""

    def __init__(self, plan: Plan, dice: random.Random, pace: float, start: StartState) -> None:
        self.env = simpy.Environment()
        self.plan, self.dice, self.pace, self.start = plan, dice, pace, start
        self.machine = Machine(self.env, plan.site, dice)
        self.manager = JobManager(plan, self.machine, MemoryLedger(), script=lambda *_: "")
        self.watchers = Watchers(self.manager)
        self.pools = {kind: Pool(self.env, self.manager, kind) for kind in plan.kinds}
        work = {step.task.key: self._work(step) for step in plan.steps if not step.in_pilot}
        live = _live(plan, start)
        self.machine.at_once = frozenset(key for key, waited in live.items() if waited is None)
        self.machine.waited = {key: waited for key, waited in live.items() if waited is not None}
        self.links = Links(self.env, self.manager, dice, work, self.machine.at_once)
        self.machine.program = self._program
        self.machine.changed = self._wake
        self._wake_up = self.env.event()
        self._ends: dict[str, simpy.Event] = {}
        self.failed: dict[str, str] = {}

    def result(self) -> Rehearsal:
        """Play to the end and return how it went."""
        for step in self.plan.steps:
            self._ends[step.task.key] = self.env.process(self._step(step))
        self.env.process(self._control())
        self.env.run(self.env.all_of(list(self._ends.values())))
        hours = self.env.now / HOUR
        self.env.run()
        self.manager.settle()
        accounts = list(self.manager.ledger.accounts().values())
        workers = {kind: pool.pilot.workers_per_node for kind, pool in self.pools.items()}
        return Rehearsal(
            site=self.plan.site.name,
            hours=hours,
            node_hours=sum(each.charged_node_hours for each in accounts),
            planned_node_hours=self.plan.node_hours,
            jobs=len(self.machine.jobs),
            links=sum(1 for each in accounts if each.stage not in (PILOT, PACK)),
            waited_hours=self.machine.waited_hours(),
            uses=uses(accounts, self.plan.run, workers),
            failed=self.failed,
            accounts=accounts,
        )

    def _program(self, job: Job, job_id: str, ends_at: float) -> Life:
        """Return what a batch job runs."""
        if not job.pilot:
            return self.links.run(job, job_id, ends_at)
        kind = next(kind for kind in self.pools if f".{kind}." in job.key)
        return self.pools[kind].run(job, job_id, ends_at)

    def poll_at(self, hours: float, poll: Poll) -> Life:
        """Pass a snapshot to `poll`, `hours` after the start."""
        yield self.env.timeout(hours * HOUR)
        poll(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Settle the ledger, then return what an observer can see now."""
        self.manager.settle()
        shares = {key: 1.0 for key, end in self._ends.items() if end.processed}
        shares |= self.links.shares()
        accounts = list(self.manager.ledger.accounts().values())
        submitted = {
            each.job_key: each.time
            for each in self.manager.ledger.records()
            if each.kind is Kind.SUBMIT
        }
        return Snapshot(clock.time(), shares, accounts, submitted)

    def _work(self, step: Step) -> Work:
        """Return what a training takes, and what of it is done."""
        seconds = self._seconds(step)
        return Work(seconds, seconds * self.start.share(step.task.key))

    def _seconds(self, step: Step) -> float:
        """Return what a training takes, or one place of another task's."""
        task = step.task
        if isinstance(task, CHAINED):
            minutes = work_minutes(self.plan.site, task.training.walltime_minutes) * self.pace
        else:
            minutes = MINUTES[task.stage]
        return 60 * minutes * self.dice.lognormvariate(0.0, SPREAD)

    def _step(self, step: Step) -> Life:
        """Do one task when those that it needs are done."""
        needed = [self._ends[key] for key in step.task.needs if key in self._ends]
        yield self.env.all_of(needed)
        if any(key in self.failed for key in step.task.needs):
            self.failed[step.task.key] = ""  # it only waited for one that failed
        elif step.in_pilot:
            yield from self._in_pilots(step)
        else:
            yield from self._in_chain(step)
        self._wake()

    def _in_pilots(self, step: Step) -> Life:
        """Do a task in pilots; what it took is recorded as theirs."""
        task, pool = step.task, self.pools[step.shares]
        count = len(task.files) if isinstance(task, SimulateTask | StageTask) else 1
        count = math.ceil(count * (1 - self.start.share(task.key)))
        saves = isinstance(task, CHAINED)
        # Nobody has pilots that are shorter than the tasks in them.
        longest = math.inf if saves else 60 * pool.pilot.walltime_minutes / 2
        takes = [min(longest, self._seconds(step)) for _ in range(count)]
        done = [pool.add(seconds, saves=saves) for seconds in takes]
        self._wake()
        yield self.env.all_of(done)
        refused = next((each.value for each in done if each.value), None)
        if refused is not None:
            self.failed[task.key] = refused
            return
        self.manager.ledger.append(
            Record(
                kind=Kind.END,
                site=self.plan.site.name,
                stage=task.stage,
                task=task.key,
                job_key=task.key,
                batch_key=step.shares,
                seconds=round(sum(takes)),
                state=State.COMPLETED,
            )
        )

    def _in_chain(self, step: Step) -> Life:
        """Let our watchers bring a training to its end."""
        over = self.env.event()
        future = self.watchers.add(step)
        future.add_done_callback(lambda _: over.succeed())
        self._wake()
        yield over
        error = future.exception()
        if error is not None:
            self.failed[step.task.key] = str(error)

    def _wake(self) -> None:
        """Let the controller look: something has changed."""
        if not self._wake_up.triggered:
            self._wake_up.succeed()

    def _control(self) -> Life:
        """Poll at the chains and the pilots whenever something changed, as the controller does."""
        moved = self.env.now
        while not all(each.processed for each in self._ends.values()):
            woken, poll = self._wake_up, self.plan.site.poll_seconds + 1.0
            # Nothing wakes it where what a job's end leads to takes a second look.
            yield woken | self.env.timeout(LONGEST_POLL if self.machine.is_busy else poll)
            if woken.triggered or self.machine.is_busy:
                moved = self.env.now
            elif self.env.now - moved > LONGEST_POLL:
                message = f"{self.plan.site.name}: no job is left, and none is submitted any more."
                raise RunError(message)
            self._wake_up = self.env.event()
            yield self.env.timeout(poll)
            self.watchers.forget(list(self.failed))
            self.watchers.advance()
            for pool in self.pools.values():
                pool.advance()
