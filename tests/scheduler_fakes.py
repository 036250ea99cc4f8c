"""A scheduler and a clock that live in memory, and a plan to try the manager on."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whole_campaign import TINY

from pipeline.campaign import PretrainTask, load_campaign
from pipeline.job import JobStatus, State
from pipeline.planning.plan import Plan, RunOptions, Step, make_plan
from pipeline.run import Run
from pipeline.scheduler import SchedulerError
from pipeline.scheduler.rows import unknown
from pipeline.site import load_site

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Stands in for the module `time`: sleeping takes no time, and moves it on."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeScheduler:
    """Jobs by key; a job ends as `ends` says when it was asked about `polls` times."""

    def __init__(self, **ends: Any) -> None:
        self.ends = {"state": State.COMPLETED, "exit_code": 0, **ends}
        self.polls = 2
        self.refuses = self.is_silent = False
        self.jobs: dict[str, JobStatus] = {}
        self.asked: list[list[str]] = []
        self.cancelled: list[str] = []
        self.scripts: dict[str, str] = {}
        self.known_accounts: set[str] | None = None
        self.at_end: Callable[[str], object] = str

    def submit(self, job, text, *, tried_since=None):
        if self.refuses:
            raise SchedulerError("sbatch: error: Invalid qos")
        self.scripts[job.key] = text
        known = None if tried_since is None else self.find(job.key, tried_since)
        if known is not None:
            return known
        job_id = str(700 + len(self.jobs))
        self.jobs[job_id] = JobStatus(
            id=job_id, key=job.key, state=State.PENDING, nodes=job.nodes, start=1_000_000
        )
        return job_id

    def find(self, key, since):  # noqa: ARG002 - a key is for ever
        return next((job_id for job_id, each in self.jobs.items() if each.key == key), None)

    def query(self, jobs):
        jobs = list(jobs)
        ids = [job.id for job in jobs]
        self.asked.append(ids)
        if self.is_silent:
            raise SchedulerError("sacct: error: slurmdbd not responding")
        for job_id in ids:
            times = sum(job_id in each for each in self.asked)
            if job_id in self.jobs and times >= self.polls:
                self.end(job_id, **self.ends)
        return {job: self._status(job) for job in jobs if job.id in self.jobs}

    def _status(self, job):
        known = self.jobs[job.id]
        return known if known.key == job.key else unknown(job, known.key)

    def end(self, job_id, **how):
        if not self.jobs[job_id].state.is_over:
            self.at_end(job_id)
            over = {"seconds": 1800, "end": 1_001_800, **how}
            self.jobs[job_id] = self.jobs[job_id].model_copy(update=over)

    def accounts(self):
        return self.known_accounts

    def hosts(self, names):
        return names.split()

    def cancel(self, jobs):
        for job in jobs:
            if self.jobs[job.id].key == job.key:
                self.cancelled.append(job.id)
                self.end(job.id, state=State.CANCELLED, exit_code=None)


def tiny_plan(root: Path, site: str = "local", **asked: Any) -> Plan:
    """The tiny campaign's plan on a site."""
    run = Run(root, "tiny")
    return make_plan(load_campaign(str(TINY)).tasks(run), run, load_site(site), RunOptions(**asked))


def shared_ladder(root: Path, **asked: Any) -> Plan:
    """Three trainings of one device each, on nodes of two, that are longer than a pack."""
    run = Run(root, "ladder")
    tasks = load_campaign(str(TINY.with_name("ladder.toml"))).tasks(run)
    smaller = [
        each.model_copy(update={"training": each.training.model_copy(update={"devices": 1})})
        if isinstance(each, PretrainTask)
        else each
        for each in tasks
    ]
    site, options = load_site("testbed-frontier"), RunOptions(project="nph000", **asked)
    return make_plan(smaller, run, site, options)


def pretraining(plan: Plan) -> Step:
    """The step that pretrains."""
    return next(step for step in plan.steps if step.task.stage == "pretrain")
