"""Which trainings share a large job, where that buys longer links or a discount.

Example: Frontier grants 2 hours to 91 nodes and 6 hours to 92, and starts at most 4 jobs per user;
NERSC halves the charge from 128 nodes. A ladder of small trainings is then cheaper, or done sooner,
in a few large jobs than in many small ones.
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
    """A training that may share a job: its nodes, and its minutes over all links."""

    key: str
    nodes: int
    minutes: int


@dataclass(frozen=True)
class Layout:
    """One way to run the trainings: in bundles of at least `from_nodes` nodes, or 0 for each alone.

    `bundles` names the bundle of each training that is in one. `jobs` and `node_hours` are totals;
    `hours` is the duration if jobs wait only for each other.
    """

    from_nodes: int
    bundles: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 0
    node_hours: float = 0.0
    hours: float = 0.0

    @property
    def name(self) -> str:
        """Its name for the user."""
        return f"bundles of {self.from_nodes} nodes or more" if self.bundles else "each alone"


def layouts(members: Sequence[Member], site: Site, role: Role, *, soonest: bool) -> list[Layout]:
    """Return the ways to run `members`, the best first: the cheapest, or the soonest done.

    Costs, or durations, that agree to 1 % are a tie, which the other criterion decides.
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
    """Return the notes on unconfirmed discounts that a layout relies on."""
    charges = site.qos[role.qos].charge if role.qos else ()
    return [
        each.note
        for each in charges
        if not each.confirmed
        and 1 < each.from_nodes <= layout.from_nodes
        and role.node in (each.nodes or (role.node,))
    ]


def rounds(
    members: Sequence[Member], site: Site, role: Role, overhead_minutes: float
) -> list[tuple[int, float]]:
    """Return the (nodes, minutes) of the jobs that run `members` side by side to their ends.

    A job lasts until the last training is done, or until it is signalled to save; the next job runs
    those that are not done. `overhead_minutes` of each job do no work.
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
    """Return the job sizes from which the site grants a longer walltime, or charges less."""
    bins = [each.min_nodes for each in site.bins_of(role.qos)]
    charges = site.qos[role.qos].charge if role.qos else ()
    discounts = [each.from_nodes for each in charges if role.node in (each.nodes or (role.node,))]
    return sorted({each for each in (*bins, *discounts) if each > 1})


def _groups(members: Sequence[Member], edge: int) -> list[list[list[Member]]]:
    """Return the ways to bundle trainings of similar length to at least `edge` nodes.

    The remaining trainings join the last bundle, or run alone.
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
    """Whether the site accepts such jobs."""
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
    """Return the layout of `groups` as bundles and every other training alone."""
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
    """Return how many jobs of a user may run at once, None for no limit."""
    queue = site.qos.get(role.qos)
    limits = (site.eligible_jobs, queue.running_jobs if queue is not None else None)
    return min((each for each in limits if each is not None), default=None)


def _expected_node_hours(site: Site, role: Role, nodes: int, minutes: float) -> float:
    """Return the expected charge of a job: each node failure costs all nodes one start-up."""
    failures = site.node_failures / 1000 * nodes * minutes / MINUTES_PER_DAY
    seconds = 60 * (minutes + failures * site.link_overhead_minutes)
    return node_hours(site, role, nodes=nodes, seconds=seconds)
