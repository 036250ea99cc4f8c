"""The batch jobs of trainings in a rehearsal: real links, around work that only takes time."""

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simpy

from pipeline import records
from pipeline.chains.continuation import (
    Link,
    begin_links,
    continue_links,
    end_link,
    record_link_end,
)
from pipeline.chains.job_manager import JobManager
from pipeline.job import Job
from pipeline.outcome import Exit
from pipeline.planning.plan import Step
from pipeline.records import Heartbeat, LinkRecord, Product
from pipeline.rehearsal.machine import EPOCH, Life
from pipeline.run import TaskFolder
from pipeline.scheduler.script import signal_lead_seconds
from pipeline.site import Site

SAVE_SECONDS = 30.0  # of a checkpoint: a guess
MAX_SAVE_INTERVAL = 1800.0  # each half an hour at least, as the trainings do


@dataclass
class Work:
    """A training's work in seconds of steps: in total, and saved in a checkpoint."""

    seconds: float
    saved: float = 0.0
    stepping_since: float | None = None

    @property
    def left(self) -> float:
        """The seconds that are not saved yet."""
        return self.seconds - self.saved


class Links:
    """The programs of batch jobs: they begin, save and end links as the real ones do."""

    def __init__(
        self,
        env: simpy.Environment,
        manager: JobManager,
        dice: random.Random,
        work: dict[str, Work],
        at_once: frozenset[str] = frozenset(),
    ) -> None:
        self.env, self.manager, self.dice, self.work = env, manager, dice, work
        self.at_once = at_once  # keys of links that have started up already
        run = manager.plan.run
        self._steps = {str(run.task(step.task.key).path): step for step in manager.plan.steps}

    def shares(self) -> dict[str, float]:
        """Return the done share of each training, including unsaved steps."""
        found = {}
        for key, work in self.work.items():
            since = work.stepping_since
            done = work.saved + (self.env.now - since if since is not None else 0.0)
            found[key] = min(1.0, done / work.seconds)
        return found

    def run(self, job: Job, job_id: str, ends_at: float) -> Life:
        """Run the links of a job side by side; return its exit code."""
        links = self._links(job)
        wanted = begin_links(self.manager, links, job_id)
        parts = [
            self.env.process(self._link(links[position - 1], job, job_id, ends_at))
            for position in wanted
        ]
        try:
            codes = yield self.env.all_of(parts)
        except simpy.Interrupt as interrupt:
            for part in parts:
                if part.is_alive:
                    part.interrupt(interrupt.cause)
            yield self.env.all_of(parts)
            return None
        if job.parts:
            continue_links(self.manager, links, job_id)
            return Exit.FINISHED
        return next(iter(codes.values())) if wanted else Exit.FINISHED

    def _links(self, job: Job) -> list[Link]:
        """Return the links of a job from its script, which has the folder and number of each."""
        words = job.before[job.before.index("begin") + 1 :]
        return [
            (self._steps[folder], int(number))
            for folder, number in zip(words[::2], words[1::2], strict=True)
        ]

    def _link(self, link: Link, job: Job, job_id: str, ends_at: float) -> Life:
        """Work until the training is done or the walltime is near; return the exit code."""
        step, number = link
        folder, work = self.manager.plan.run.task(step.task.key), self.work[step.task.key]
        traces = Traces(folder, number, self.manager.plan.link(step, number).key, self.env.now)
        traces.beat(self.env.now)
        try:
            if traces.record.key not in self.at_once:
                yield self.env.timeout(self._start_up_seconds(job))
            yield from self._steps_until(traces, work, ends_at - self._lead(job), step)
        except simpy.Interrupt:
            work.stepping_since = None
            traces.write()
            return None
        done = work.left <= 0
        traces.ended(self.env.now, "finished" if done else "continue")
        if done:
            folder.finish(Product(seconds=work.seconds))
        code = Exit.FINISHED if done else Exit.CONTINUE
        end = record_link_end if job.parts else end_link
        end(self.manager, link, job_id, code)
        return code

    def _steps_until(self, traces: "Traces", work: Work, until: float, step: Step) -> Life:
        """Make steps and save them, at the optimal interval, until the work or the time is over."""
        interval = self._between_saves(step.nodes)
        while work.left > 0 and self.env.now + SAVE_SECONDS < until:
            seconds = min(interval, work.left, until - SAVE_SECONDS - self.env.now)
            traces.stepping(self.env.now)
            work.stepping_since = self.env.now
            yield self.env.timeout(seconds)
            traces.stepped(self.env.now)
            yield self.env.timeout(SAVE_SECONDS)
            work.saved, work.stepping_since = work.saved + seconds, None
            traces.saved(work.saved)
            traces.beat(self.env.now)

    def _between_saves(self, nodes: int) -> float:
        """Return the seconds of steps between two saves: √(2 · save · mean time to failure).

        The first-order optimum of J. W. Young, CACM 17 (1974) 530.
        """
        rate = self.manager.plan.site.node_failures / 1000 * nodes / 86400
        if not rate:
            return MAX_SAVE_INTERVAL
        return min(MAX_SAVE_INTERVAL, math.sqrt(2 * SAVE_SECONDS / rate))

    def _start_up_seconds(self, job: Job) -> float:
        """Return the seconds until a link's first step: the site's value, give or take a third."""
        mean = 60.0 * start_up_minutes(self.manager.plan.site, job.walltime_minutes)
        return mean * self.dice.uniform(0.67, 1.33)

    def _lead(self, job: Job) -> float:
        return float(signal_lead_seconds(job, self.manager.plan.site))


def start_up_minutes(site: Site, walltime_minutes: int) -> float:
    """Return the minutes until a link's first step: by the site, at most a third of the walltime.

    A walltime shorter than the start-up would make no sense.
    """
    return min(site.link_overhead_minutes, walltime_minutes / 3)


class Traces:
    """What a link leaves on disk: the record of its life, heartbeats, and a checkpoint."""

    def __init__(self, folder: TaskFolder, number: int, key: str, began: float) -> None:
        self.folder = folder
        self.record = LinkRecord(number=number, key=key, began=EPOCH + began)
        self._last_step = EPOCH + began

    def beat(self, now: float) -> None:
        """Write a heartbeat."""
        seconds = EPOCH + now - self.record.began
        beat = Heartbeat(time=EPOCH + now, seconds=seconds, link=self.record.key)
        records.write(self.folder.heartbeat, beat)

    def stepping(self, now: float) -> None:
        """Note the first step."""
        if self.record.first_step is None:
            self._change(first_step=EPOCH + now, last_step=EPOCH + now)

    def stepped(self, now: float) -> None:
        """Note a last step; it counts once it is saved."""
        self._last_step = EPOCH + now

    def saved(self, seconds: float) -> None:
        """Note that a checkpoint holds `seconds` of work."""
        saving = self.record.saving_seconds + SAVE_SECONDS
        self._change(last_step=self._last_step, saving_seconds=saving)
        _checkpoint(self.folder.checkpoints, seconds)

    def ended(self, now: float, outcome: str) -> None:
        """Record a link that ended by itself."""
        self._change(ended=EPOCH + now, outcome=outcome)
        self.write()

    def write(self) -> None:
        """Write the record, if the link took a step; that of a killed link has no end."""
        if self.record.first_step is not None:
            path = self.folder.links / f"{self.record.number:03d}.json"
            records.write(path, self.record)

    def _change(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)


def _checkpoint(checkpoints: Path, seconds: float) -> None:
    """Replace the checkpoint by one that is named by its seconds of work."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    before = list(checkpoints.iterdir())
    (checkpoints / f"step-{round(seconds):012d}").mkdir(exist_ok=True)
    for path in before:
        if path.name != f"step-{round(seconds):012d}":
            path.rmdir()
