"""A simulated machine: a scheduler whose jobs wait, run and fail by the site's declaration."""

import math
import random
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import simpy

from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.scheduler import NotNowError, SchedulerError
from pipeline.site import Site

HOUR, DAY = 3600.0, 86400.0
NO_LIMIT = 10**6
WAIT_SIGMA = 1.0  # standard deviation of the logarithm of a wait: a guess
EPOCH = 1_767_225_600.0  # 2026-01-01 UTC: a rehearsal depends on its seed alone

Life = Generator[simpy.Event, Any, Any]
Program = Callable[[Job, str, float], Life]


@dataclass
class Entry:
    """One job: what was maintenance, where it stands, and the event of its end.

    Times are seconds of the simulation; `exit_code` is None of a job that was ended from outside.
    """

    job: Job
    over: simpy.Event
    process: simpy.Process | None = None
    state: State = State.PENDING
    submitted: float = 0.0
    start: float | None = None
    end: float | None = None
    exit_code: int | None = None
    status: JobStatus | None = None  # the last answer, valid until its state changes


class VirtualClock:
    """The simulation's time as a clock, without sleep."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env

    def time(self) -> float:
        """Return the seconds since 1970."""
        return EPOCH + float(self.env.now)

    def monotonic(self) -> float:
        """Return the seconds of the simulation, which starts long after any earlier poll."""
        return 1e6 + float(self.env.now)

    def sleep(self, seconds: float) -> None:
        """Refuse: the simulation stands still while our code runs."""
        message = f"{seconds} s: no code may sleep in a rehearsal."
        raise RuntimeError(message)


class Machine:
    """A `Scheduler` whose jobs live in a simulation.

    As on the real machine a job waits for the job it depends on, for eligibility where the site
    limits the eligible jobs, in the queue, for the end of a maintenance, and for a place where the
    queue limits the running jobs. It runs until its program ends, its walltime ends, one of its
    nodes fails, it is preempted or cancelled, whatever comes first.
    """

    def __init__(self, env: simpy.Environment, site: Site, dice: random.Random) -> None:
        self.env, self.site, self.dice = env, site, dice
        self.jobs: dict[str, Entry] = {}
        self.program: Program | None = None
        self.changed: Callable[[], None] = lambda: None
        self.at_once: frozenset[str] = frozenset()  # keys of jobs that run already
        self.waited: Mapping[str, float] = {}  # seconds that jobs have waited already, by key
        self._by_key: dict[str, str] = {}
        self._live = 0
        self._live_in: dict[str, int] = {}
        self._eligible = simpy.Resource(env, site.eligible_jobs or NO_LIMIT)
        self._running = {
            name: simpy.Resource(env, queue.running_jobs or NO_LIMIT)
            for name, queue in site.qos.items()
        }

    def submit(self, job: Job, text: str, *, tried_since: float | None = None) -> str:
        """See `Scheduler.submit`; jobs beyond the site's limits are refused."""
        if job.key in self._by_key:
            return self._by_key[job.key]
        queue = self.site.qos.get(job.qos)
        most = (queue.submitted_jobs if queue is not None else None) or NO_LIMIT
        if self._live_in.get(job.qos, 0) >= most or self._live >= self.site.submitted_jobs:
            message = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
            raise NotNowError(message)
        longest = self.site.max_minutes(job.nodes, job.qos)
        if longest is not None and job.walltime_minutes > longest:
            message = f"sbatch: error: {job.key}: Requested time limit is invalid"
            raise SchedulerError(message)
        job_id = str(len(self.jobs) + 1)
        entry = Entry(job, self.env.event(), submitted=self.env.now)
        self.jobs[job_id], self._by_key[job.key] = entry, job_id
        self._live += 1
        self._live_in[job.qos] = self._live_in.get(job.qos, 0) + 1
        entry.process = self.env.process(self._life(job_id, entry))
        return job_id

    def find(self, key: str, since: float) -> str | None:
        """See `Scheduler.find`."""
        return self._by_key.get(key)

    def query(self, jobs: Iterable[JobHandle]) -> dict[JobHandle, JobStatus]:
        """See `Scheduler.query`; an id belongs to one job for ever."""
        return {job: self._status(job.id) for job in jobs}

    def accounts(self) -> set[str] | None:
        """See `Scheduler.accounts`."""
        return None

    def hosts(self, names: str) -> list[str]:
        """See `Scheduler.hosts`."""
        return names.split()

    def cancel(self, jobs: Iterable[JobHandle]) -> None:
        """See `Scheduler.cancel`."""
        for job in jobs:
            entry = self.jobs[job.id]
            if entry.end is None and entry.process is not None and entry.process.is_alive:
                entry.process.interrupt(State.CANCELLED)

    @property
    def is_busy(self) -> bool:
        """Whether a job waits or runs."""
        return self._live > 0

    def waited_hours(self) -> float:
        """Return the total hours that jobs waited between submission and start."""
        begun = [each for each in self.jobs.values() if each.start is not None]
        return sum((each.start or 0.0) - each.submitted for each in begun) / HOUR

    def _status(self, job_id: str) -> JobStatus:
        entry = self.jobs[job_id]
        if entry.status is not None and entry.status.state is entry.state:
            return entry.status
        until = self.env.now if entry.end is None else entry.end
        seconds = 0 if entry.start is None else round(until) - round(entry.start)
        entry.status = JobStatus(
            id=job_id,
            key=entry.job.key,
            state=entry.state,
            nodes=entry.job.nodes,
            seconds=seconds,
            start=None if entry.start is None else round(EPOCH + entry.start),
            end=None if entry.end is None else round(EPOCH + entry.end),
            exit_code=entry.exit_code,
        )
        return entry.status

    def _life(self, job_id: str, entry: Entry) -> Life:
        """Simulate a job from its submission to its end."""
        try:
            if entry.job.after:
                before = self.jobs[entry.job.after]
                if before.end is None:
                    yield before.over
            with self._eligible.request() as slot:
                yield slot
                yield self.env.timeout(self._wait_seconds(entry.job))
                yield from self._maintenance(entry.job)
            if entry.job.qos in self._running:
                with self._running[entry.job.qos].request() as slot:
                    yield slot
                    yield from self._run(job_id, entry)
            else:
                yield from self._run(job_id, entry)
        except simpy.Interrupt as interrupt:
            entry.state = State(str(interrupt.cause))
        entry.end = self.env.now
        self._live -= 1
        self._live_in[entry.job.qos] -= 1
        entry.over.succeed()
        self.changed()

    def _run(self, job_id: str, entry: Entry) -> Life:
        """Run the job's program until it ends or is ended."""
        if self.program is None:
            message = f"{entry.job.key}: the machine was given no program to run."
            raise RuntimeError(message)
        entry.start, entry.state = self.env.now, State.RUNNING
        self.changed()
        walltime = 60.0 * entry.job.walltime_minutes
        ends_at = self.env.now + walltime
        program = self.env.process(self.program(entry.job, job_id, ends_at))
        seconds, state = min([(walltime, State.TIMEOUT), *self._interruptions(entry.job)])
        try:
            yield program | self.env.timeout(seconds)
        except simpy.Interrupt as interrupt:
            state = State(str(interrupt.cause))
        if program.is_alive:
            program.interrupt(state)
            yield program
            entry.state = state
        else:
            entry.exit_code = int(program.value or 0)
            entry.state = State.FAILED if entry.exit_code else State.COMPLETED

    def _wait_seconds(self, job: Job) -> float:
        """Return how long a job waits in its queue: log-normal with the site's mean.

        A job that has waited already waits for the rest, by the conditional distribution.
        """
        mean = self.site.mean_wait_hours(job.nodes, job.qos) * HOUR
        if not mean or self.at_once & {job.key, *(part.key for part in job.parts)}:
            return 0.0
        waited = self.waited.get(job.key, 0.0)
        middle = math.log(mean) - WAIT_SIGMA**2 / 2
        if not waited:
            return self.dice.lognormvariate(middle, WAIT_SIGMA)
        logs = NormalDist(middle, WAIT_SIGMA)
        passed = logs.cdf(math.log(waited))
        share = passed + (1 - passed) * self.dice.random()
        if not 0 < share < 1:
            return waited  # beyond the distribution's precision: as long again
        return max(0.0, math.exp(logs.inv_cdf(share)) - waited)

    def _interruptions(self, job: Job) -> list[tuple[float, State]]:
        """Return the (seconds, state) of the node failure and the preemption of a job, if any."""
        found = []
        rate = self.site.node_failures / 1000 * job.nodes / DAY
        if rate:
            found.append((self.dice.expovariate(rate), State.NODE_FAIL))
        queue = self.site.qos.get(job.qos)
        if queue is not None and queue.hours_to_preemption:
            later = self.dice.expovariate(1 / (queue.hours_to_preemption * HOUR))
            found.append((60.0 * queue.protected_minutes + later, State.PREEMPTED))
        return found

    def _maintenance(self, job: Job) -> Life:
        """Wait until no maintenance falls into the job's walltime."""
        maintenance = self.site.maintenance
        if maintenance is None:
            return
        period, length = maintenance.interval_days * DAY, maintenance.hours * HOUR
        number, since = divmod(self.env.now, period)
        if number and since < length:
            yield self.env.timeout(length - since)
        elif since + 60.0 * job.walltime_minutes > period:
            yield self.env.timeout(period + length - since)
