"""Which trainings share a large job: where that buys longer links or a discount, and why.

Frontier grants 2 hours to 91 nodes and 6 to 92, and lets 4 jobs of a user start; NERSC halves the
charge from 128 nodes on. A ladder of small trainings is cheaper, or done sooner, in a few large
jobs than in many small ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.budget.cost import node_hours
from pipeline.catalog import DeclarationError
from pipeline.site import Role, Site

MINUTES_PER_DAY = 1440


@dataclass(frozen=True)
class Member:
    """A training that may share a job: the nodes it asks, and the minutes it takes in all."""

    key: str
    nodes: int
    minutes: int


@dataclass(frozen=True)
class Layout:
    """One way to run the trainings: in bundles of `from_nodes` nodes or more, 0 for each alone.

    `bundles` names the bundle of each training that is in one. It comes to so many batch `jobs` and
    `node_hours`, and takes `hours` if no job waits for anything but its turn.
    """

    from_nodes: int
    bundles: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 0
    node_hours: float = 0.0
    hours: float = 0.0

    @property
    def name(self) -> str:
        """What it is called on a screen."""
        return f"bundles from {self.from_nodes} nodes on" if self.bundles else "each alone"


def layouts(members: Sequence[Member], site: Site, role: Role, *, soonest: bool) -> list[Layout]:
    """Return the ways to run `members`, the best first: the cheapest, or the soonest done.

    Of those that cost the same to a per cent the soonest is the best, and the other way round.
    """
    found = [_layout(members, site, role, 0, [])]
    for edge in _edges(site, role):
        groups = next((each for each in _groups(members, edge) if _fits(each, site, role)), [])
        if groups:
            found.append(_layout(members, site, role, edge, groups))
    price = min(each.node_hours for each in found) or 1.0
    time = min(each.hours for each in found) or 1.0
    ratios = {
        each.from_nodes: (round(each.node_hours / price, 2), round(each.hours / time, 2))
        for each in found
    }
    order = -1 if soonest else 1
    return sorted(found, key=lambda each: (ratios[each.from_nodes][::order], each.jobs))


def unconfirmed(layout: Layout, site: Site, role: Role) -> list[str]:
    """Return what is said of the discounts that a layout counts on and nobody has confirmed."""
    pieces = site.qos[role.qos].charge if role.qos else ()
    return [
        each.note
        for each in pieces
        if not each.confirmed
        and 1 < each.from_nodes <= layout.from_nodes
        and role.node in (each.nodes or (role.node,))
    ]


def rounds(
    members: Sequence[Member], site: Site, role: Role, overhead_minutes: float
) -> list[tuple[int, float]]:
    """Return the (nodes, minutes) of each job that brings `members` to their ends, side by side.

    A job lasts until the last of them is done, or it is asked to save; the next one is for those
    that are not. `overhead_minutes` of each are no work.
    """
    left = [(each.nodes, float(each.minutes)) for each in members]
    found = []
    while left:
        nodes = sum(each for each, _ in left)
        wanted = max(minutes for _, minutes in left)
        _, longest = site.walltime_minutes(math.ceil(wanted + overhead_minutes), nodes, role.qos)
        work = min(wanted, max(longest - overhead_minutes, 1.0))
        found.append((nodes, work + overhead_minutes))
        left = [(each, minutes - work) for each, minutes in left if minutes > work]
    return found


def _edges(site: Site, role: Role) -> list[int]:
    """Return the job sizes from which the site grants more time, or asks less."""
    bins = [each.min_nodes for each in site.bins_of(role.qos)]
    pieces = site.qos[role.qos].charge if role.qos else ()
    discounts = [each.from_nodes for each in pieces if role.node in (each.nodes or (role.node,))]
    return sorted({each for each in (*bins, *discounts) if each > 1})


def _groups(members: Sequence[Member], edge: int) -> list[list[list[Member]]]:
    """Return the ways to make bundles of at least `edge` nodes, of trainings that take as long.

    What is left over joins the last bundle, or stays alone.
    """
    groups: list[list[Member]] = [[]]
    for each in sorted(members, key=lambda each: (-each.minutes, each.key)):
        if each.nodes >= edge:
            continue
        groups[-1].append(each)
        if sum(member.nodes for member in groups[-1]) >= edge:
            groups.append([])
    *full, rest = groups
    return [[*full[:-1], [*full[-1], *rest]], full] if full else []


def _fits(groups: Sequence[Sequence[Member]], site: Site, role: Role) -> bool:
    """Whether the site takes such jobs."""
    try:
        for group in groups:
            site.max_minutes(sum(each.nodes for each in group), role.qos)
    except DeclarationError:
        return False
    count = site.nodes[role.node].count or math.inf
    parts = site.bundle_parts or math.inf
    return all(
        len(group) <= parts and sum(each.nodes for each in group) <= count for group in groups
    )


def _layout(
    members: Sequence[Member],
    site: Site,
    role: Role,
    edge: int,
    groups: Sequence[Sequence[Member]],
) -> Layout:
    """Return what `groups`, and each other training alone, come to."""
    bundles = {each.key: str(number) for number, group in enumerate(groups, 1) for each in group}
    alone = [[each] for each in members if each.key not in bundles]
    chains = [rounds(group, site, role, site.link_overhead_minutes) for group in [*groups, *alone]]
    jobs = [job for chain in chains for job in chain]
    return Layout(
        from_nodes=edge,
        bundles=bundles,
        jobs=len(jobs),
        node_hours=sum(_expected_node_hours(site, role, *job) for job in jobs),
        hours=_least_minutes(chains, _running_jobs(site, role)) / 60,
    )


def _least_minutes(chains: Sequence[Sequence[tuple[int, float]]], at_a_time: int | None) -> float:
    """Return how long `chains` of (nodes, minutes) take, if jobs wait only for each other."""
    minutes = [sum(each for _, each in chain) for chain in chains]
    return max([*minutes, sum(minutes) / at_a_time if at_a_time else 0.0])


def _running_jobs(site: Site, role: Role) -> int | None:
    """Return how many jobs of a user may run at a time, None if that is not limited."""
    queue = site.qos.get(role.qos)
    limits = (site.eligible_jobs, queue.running_jobs if queue is not None else None)
    return min((each for each in limits if each is not None), default=None)


def _expected_node_hours(site: Site, role: Role, nodes: int, minutes: float) -> float:
    """Return what a job is charged, with the start-up that each failure of a node costs all."""
    failures = site.node_failures / 1000 * nodes * minutes / MINUTES_PER_DAY
    seconds = 60 * (minutes + failures * site.link_overhead_minutes)
    return node_hours(site, role, nodes=nodes, seconds=seconds)
