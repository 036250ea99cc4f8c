"""Ways to run the same campaign, and the comparison of their rehearsals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import quantiles
from typing import Literal

from pipeline.budget.use import SAVES, START_UP, USEFUL
from pipeline.campaign import Task
from pipeline.catalog import DeclarationError
from pipeline.planning.plan import Plan, RunOptions, make_plan
from pipeline.rehearsal.rehearse import Rehearsal
from pipeline.rehearsal.trunks import on_trunks
from pipeline.run import Run
from pipeline.site import Site

Bundles = Literal["cheapest", "soonest", "never"]
WAYS: tuple[Bundles, ...] = ("never", "cheapest", "soonest")


@dataclass(frozen=True)
class Policy:
    """A queue of a site, when trainings share jobs, and whether data sizes share a trunk."""

    site: str
    qos: str
    bundle: Bundles
    trunk: bool = False

    def __str__(self) -> str:
        """Return it as a person says it."""
        return self.named([self.bundle])

    def named(self, ways: Sequence[str]) -> str:
        """Return what a person calls it, if several ways to share jobs come to the same.

        Where all do, no job is shared, and none of them is rehearsal.
        """
        queue = self.qos or "the default queue"
        shared = "" if set(ways) == set(WAYS) else f", shared jobs: {' or '.join(ways)}"
        trunk = ", sizes from one trunk" if self.trunk else ""
        return f"{self.site}: {queue}{shared}{trunk}"


def default_queue(site: Site) -> str:
    """Return the queue of a site's trainings; empty if it names none, or one for each training."""
    return "" if site.training.alternatives else site.training.qos


def policies(site: Site, trunks: Sequence[bool] = (False,)) -> list[Policy]:
    """Return the ways that a site offers: each queue of chains that costs something, each sharing.

    A queue without charge is for those who have nothing left. `trunks` says whether data sizes may
    be trainings of their own, branches of a trunk, or both.
    """
    queues = [
        name
        for name, queue in site.qos.items()
        if queue.chaining and any(piece.factor for piece in queue.charge)
    ]
    if not default_queue(site):
        queues.insert(0, "")
    return [Policy(site.name, *each) for each in product(queues, WAYS, trunks)]


def plan_of(
    policy: Policy, tasks: Sequence[Task], run: Run, site: Site, *, project: str, cap: float | None
) -> Plan | str:
    """Return the plan of a campaign's tasks under `policy`, or why the site refuses that."""
    options = RunOptions(project, policy.qos, cap, bundle=policy.bundle)
    wanted = on_trunks(tasks, run) if policy.trunk else tasks
    try:
        return make_plan(wanted, run, site, options)
    except DeclarationError as error:
        return str(error)


def is_same(one: Plan, other: Plan) -> bool:
    """Whether two plans are the same jobs, so that one rehearsal tells of both."""
    ours, theirs = ((each.site, each.training_role, each.steps) for each in (one, other))
    return ours == theirs


def by_outcome(found: Mapping[Policy, Sequence[Rehearsal]]) -> dict[str, Sequence[Rehearsal]]:
    """Return the rehearsals of each queue by a name for those ways to share jobs that are one.

    Where no job can be shared to advantage, all ways are the same.
    """
    alike: dict[tuple[Policy, tuple[float, ...]], list[Policy]] = {}
    for policy, runs in found.items():
        outcome = tuple(value for run in runs for value in (run.hours, run.node_hours, run.jobs))
        alike.setdefault((replace(policy, bundle="never"), outcome), []).append(policy)
    return {
        same[0].named([each.bundle for each in same]): found[same[0]]
        for same in alike.values()
        if found[same[0]]
    }


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the tenth percentile, the median and the ninetieth."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    tenths = quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[4], tenths[8]


def lost_share(rehearsal: Rehearsal) -> float:
    """Return the share of the node-hours that went into nothing: neither work nor its price."""
    return sum(use.share for use in rehearsal.uses if use.into not in (*USEFUL, SAVES, START_UP))
