"""One submission: the links that share a batch job, their reservations, and why it may fail."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.budget.cost import node_hours
from pipeline.budget.record import Kind, Record
from pipeline.job import Job
from pipeline.outcome import RunError
from pipeline.planning.plan import Plan
from pipeline.scheduler import NotNowError


class NoHoursError(NotNowError):
    """The cap has no room for a job yet; running jobs may release node-hours later."""


class StoppedError(RunError):
    """The controller stopped before a job was submitted."""


@dataclass(frozen=True)
class Share:
    """One link of a submission, alone or as a part of a bundle: its job, stage and task."""

    link: Job
    stage: str
    task_key: str


def reservations(plan: Plan, job: Job, shares: Sequence[Share]) -> list[Record]:
    """Return the reservation of each link: its share, by devices, of the price of `job`."""
    (first, *_) = shares
    role = plan.role(first.stage, job.qos)
    seconds = job.walltime_minutes * 60
    price = node_hours(plan.site, role, nodes=job.nodes, seconds=seconds)
    held = job.held_nodes or [float(job.nodes)]
    return [
        Record(
            kind=Kind.RESERVE,
            site=plan.site.name,
            stage=each.stage,
            task=each.task_key,
            job_key=each.link.key,
            batch_key=job.key if job.parts else "",
            qos=None if job.pilot else job.qos,
            nodes=nodes,
            node_hours=price * nodes / job.nodes,
        )
        for each, nodes in zip(shares, held, strict=True)
    ]


def link_scripts(job: Job) -> None:
    """Make a log folder for each part of a bundle, with a link to the bundle's batch script."""
    for part in job.parts:
        part.folder.mkdir(parents=True, exist_ok=True)
        part.script.unlink(missing_ok=True)
        part.script.symlink_to(os.path.relpath(job.script, part.folder))
