"""Pilots in a rehearsal: blocks of nodes that start when tasks wait, and end when none do."""

from collections import deque
from dataclasses import dataclass

import simpy

from pipeline.budget.guard import BudgetError
from pipeline.chains.job_manager import JobManager
from pipeline.job import Job
from pipeline.outcome import Exit
from pipeline.planning.pilots import DRAIN_SHARE
from pipeline.rehearsal.machine import Life
from pipeline.scheduler import NotNowError


@dataclass
class PilotTask:
    """A task that wants one worker in a pilot: what is left of it, and the event of its end.

    The event's value is why the task was not done, None if it was.
    """

    seconds: float
    done: simpy.Event
    saves: bool = False


class Pool:
    """All pilots of one kind; what a pilot's end interrupts goes to the next one."""

    def __init__(self, env: simpy.Environment, manager: JobManager, kind: str) -> None:
        self.env, self.manager, self.kind = env, manager, kind
        self.pilot = manager.plan.pilots(kind)
        self.workers = self.pilot.nodes_per_block * self.pilot.workers_per_node
        self.busy_seconds = 0.0
        self._waiting: deque[PilotTask] = deque()
        self._asleep: list[simpy.Event] = []  # of workers that wait for work
        self._submitted = 0
        self._live = 0
        self._queued = 0

    def add(self, seconds: float, *, saves: bool = False) -> simpy.Event:
        """Let a task of so many seconds wait for a worker; a training `saves` what it has done."""
        task = PilotTask(seconds, self.env.event(), saves)
        self._put(task)
        return task.done

    def advance(self) -> None:
        """Submit as many pilots as the waiting tasks can use and the queue takes."""
        while (
            self._live < self.pilot.max_blocks and len(self._waiting) > self.workers * self._queued
        ):
            job = self.manager.plan.pilot(("rehearsal",), self._submitted + 1, self.kind)
            try:
                self.manager.submit(job, stage=self.kind, task_key=self.kind)
            except NotNowError:
                return
            except BudgetError as error:
                self._give_up(str(error))
                return
            self._submitted += 1
            self._live += 1
            self._queued += 1

    def run(self, job: Job, job_id: str, ends_at: float) -> Life:
        """Work in all workers of a pilot until nothing waits; return its exit code."""
        self._queued -= 1
        begun = self.env.now
        drains_at = begun + DRAIN_SHARE * (ends_at - begun)
        workers = [self.env.process(self._worker(drains_at)) for _ in range(self.workers)]
        try:
            yield self.env.all_of(workers)
        except simpy.Interrupt as interrupt:
            for worker in workers:
                if worker.is_alive:
                    worker.interrupt(interrupt.cause)
            yield self.env.all_of(workers)
        self._live -= 1
        return Exit.FINISHED

    def _worker(self, drains_at: float) -> Life:
        """Take one task after another, until none comes for a while or the pilot drains."""
        while self.env.now < drains_at:
            if not self._waiting:
                woken = self.env.event()
                self._asleep.append(woken)
                try:
                    yield woken | self.env.timeout(float(self.pilot.idle_seconds))
                except simpy.Interrupt:
                    return
                if not self._waiting:
                    return
            task = self._waiting.popleft()
            begun = self.env.now
            try:
                yield self.env.timeout(task.seconds)
            except simpy.Interrupt:
                task.seconds -= (self.env.now - begun) if task.saves else 0.0
                self._put(task)
                return
            self.busy_seconds += self.env.now - begun
            task.done.succeed()

    def _give_up(self, reason: str) -> None:
        """Let no task wait any longer: no pilot comes for it."""
        while self._waiting:
            self._waiting.popleft().done.succeed(reason)

    def _put(self, task: PilotTask) -> None:
        self._waiting.append(task)
        for each in self._asleep:
            if not each.triggered:
                each.succeed()
        self._asleep.clear()
