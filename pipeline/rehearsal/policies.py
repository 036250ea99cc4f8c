"""Ways to run the same campaign, and what their rehearsals say side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal

from pipeline.budget.use import SAVES, START_UP, USEFUL
from pipeline.campaign import Task
from pipeline.catalog import DeclarationError
from pipeline.rehearsal.rehearse import Rehearsal, rehearse
from pipeline.run import Run
from pipeline.site import Site
from pipeline.workflow.plan import Asked, make_plan

Bundles = Literal["cheapest", "soonest", "never"]


@dataclass(frozen=True)
class Policy:
    """A queue, and when trainings share jobs."""

    qos: str
    bundle: Bundles

    def __str__(self) -> str:
        """Return it as a person says it."""
        return f"{self.qos or 'the default queue'}, shared jobs: {self.bundle}"


def policies(site: Site) -> list[Policy]:
    """Return the ways that a site offers: each queue of chains that costs something, each sharing.

    A queue without charge is for those who have nothing left.
    """
    queues = [
        name
        for name, queue in site.qos.items()
        if queue.chaining and any(piece.factor for piece in queue.charge)
    ]
    if not site.training.qos:
        queues.insert(0, "")
    ways: tuple[Bundles, ...] = ("never", "cheapest", "soonest")
    return [Policy(queue, way) for queue in queues for way in ways]


def rehearsed(
    tasks: Sequence[Task],
    run: Run,
    site: Site,
    policy: Policy,
    *,
    project: str,
    cap: float | None,
    seed: int,
) -> Rehearsal | str:
    """Return how the campaign goes under `policy`, or why the site refuses that."""
    asked = Asked(project, policy.qos, cap, bundle=policy.bundle)
    try:
        plan = make_plan(tasks, run, site, asked)
    except DeclarationError as error:
        return str(error)
    return rehearse(plan, seed)


def by_outcome(found: Mapping[Policy, Sequence[Rehearsal]]) -> dict[str, Sequence[Rehearsal]]:
    """Return the rehearsals of each queue by a name for those ways to share jobs that are one.

    Where no job can be shared to advantage, all ways are the same.
    """
    named: dict[tuple[str, tuple[float, ...]], tuple[list[str], Sequence[Rehearsal]]] = {}
    for policy, runs in found.items():
        outcome = tuple(value for run in runs for value in (run.hours, run.node_hours, run.jobs))
        ways, _ = named.setdefault((policy.qos, outcome), ([], runs))
        ways.append(policy.bundle)
    return {
        f"{qos or 'the default queue'}, shared jobs: {' or '.join(ways)}": runs
        for (qos, _), (ways, runs) in named.items()
        if runs
    }


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the tenth percentile, the median and the ninetieth."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    tenths = quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[4], tenths[8]


def lost_share(told: Rehearsal) -> float:
    """Return the share of the node-hours that went into nothing: neither work nor its price."""
    return sum(use.share for use in told.uses if use.into not in (*USEFUL, SAVES, START_UP))
