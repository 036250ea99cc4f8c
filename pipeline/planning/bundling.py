"""Which trainings share a job, where that buys longer links, a discount, or a node's idle devices.

Example: Frontier grants 2 hours to 91 nodes and 6 hours to 92, and starts at most 4 jobs per user;
NERSC halves the charge from 128 nodes. A ladder of small trainings is then cheaper, or done sooner,
in a few large jobs than in many small ones. And of the eight devices of a node, which is charged
whole, a training of four leaves a half to another one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.budget.cost import node_hours
from pipeline.catalog import DeclarationError
from pipeline.planning.packing import node_count
from pipeline.site import Role, Site

MINUTES_PER_DAY = 1440
LARGER = 4  # from one size of jobs of shared nodes to the next one that is priced


@dataclass(frozen=True)
class Member:
    """A training that may share a job: its nodes, and its minutes over all links.

    Of its only node it has `devices`, 0 for all of them. It can begin when the trainings `after`
    have ended; only those that wait for the same ones share a job.
    """

    key: str
    nodes: int
    minutes: int
    devices: int = 0
    after: frozenset[str] = frozenset()


Group = Sequence[Member]


@dataclass(frozen=True)
class Layout:
    """One way to run the trainings: in bundles of at least `from_nodes` nodes, or 0 for each alone.

    Those that leave devices of their node idle share nodes, up to `shared_nodes` in a job.
    `bundles` names the bundle of each training that is in one. `jobs` and `node_hours` are totals;
    `hours` is the duration if jobs wait only for each other.
    """

    from_nodes: int
    shared_nodes: int = 0
    bundles: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 0
    node_hours: float = 0.0
    hours: float = 0.0

    @property
    def name(self) -> str:
        """Its name for the user."""
        large = f"bundles of {self.from_nodes} nodes or more" if self.from_nodes else ""
        shared = f"nodes shared, up to {self.shared_nodes} per job" if self.shared_nodes else ""
        return ", ".join(filter(None, (large, shared))) or "each alone"


def layouts(members: Sequence[Member], site: Site, role: Role, *, soonest: bool) -> list[Layout]:
    """Return the ways to run `members`, the best first: the cheapest, or the soonest done.

    Costs, or durations, that agree to 1 % are a tie, which the other criterion decides.
    """
    found = [_layout(members, site, role, [])]
    for edge in _edges(site, role):
        large = [group for each in _alike(members) for group in _groups(each, edge, site, role)]
        if large:
            sharing = _sharing(_without(members, large), 1, site, role)
            found.append(_layout(members, site, role, [*large, *sharing], edge, int(bool(sharing))))
    size = 1
    while sharing := _sharing(members, size, site, role):
        found.append(_layout(members, site, role, sharing, 0, size))
        if all(_nodes(each, site, role) < size for each in sharing):
            break
        size *= LARGER
    return _ranked(found, soonest=soonest)


def _ranked(found: Sequence[Layout], *, soonest: bool) -> list[Layout]:
    """Return the layouts, the best first."""
    price = min(each.node_hours for each in found) or 1.0
    time = min(each.hours for each in found) or 1.0
    order = -1 if soonest else 1

    def rank(each: Layout) -> tuple[Sequence[float], int]:
        """Return what to sort by."""
        return (round(each.node_hours / price, 2), round(each.hours / time, 2))[::order], each.jobs

    return sorted(found, key=rank)


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
    left = [(each, float(each.minutes)) for each in members]
    found = []
    while left:
        nodes = _nodes([each for each, _ in left], site, role)
        wanted = max(minutes for _, minutes in left)
        _, longest = site.walltime_minutes(math.ceil(wanted + overhead_minutes), nodes, role.qos)
        work = min(wanted, max(longest - overhead_minutes, 1.0))
        found.append((nodes, work + overhead_minutes))
        left = [(each, minutes - work) for each, minutes in left if minutes > work]
    return found


def _nodes(group: Group, site: Site, role: Role) -> int:
    """Return the nodes of the job that runs a group side by side."""
    per_node = site.nodes[role.node].devices
    return node_count([(each.nodes, each.devices or per_node) for each in group], per_node)


def _edges(site: Site, role: Role) -> list[int]:
    """Return the job sizes from which the site grants a longer walltime, or charges less."""
    bins = [each.min_nodes for each in site.bins_of(role.qos)]
    charges = site.qos[role.qos].charge if role.qos else ()
    discounts = [each.from_nodes for each in charges if role.node in (each.nodes or (role.node,))]
    return sorted({each for each in (*bins, *discounts) if each > 1})


def _alike(members: Sequence[Member]) -> list[list[Member]]:
    """Return the trainings in groups that can begin together."""
    found: dict[frozenset[str], list[Member]] = {}
    for each in members:
        found.setdefault(each.after, []).append(each)
    return list(found.values())


def _without(members: Sequence[Member], groups: Sequence[Group]) -> list[Member]:
    """Return the members that are in none of the groups."""
    keys = {each.key for group in groups for each in group}
    return [each for each in members if each.key not in keys]


def _groups(members: Sequence[Member], edge: int, site: Site, role: Role) -> list[list[Member]]:
    """Return bundles of trainings of similar length, each of at least `edge` nodes.

    The remaining trainings join the last bundle, or run alone.
    """
    groups: list[list[Member]] = [[]]
    for each in sorted(members, key=lambda each: (-each.minutes, each.key)):
        if each.nodes >= edge:
            continue
        groups[-1].append(each)
        if _nodes(groups[-1], site, role) >= edge:
            groups.append([])
    *full, rest = groups
    if not full:
        return []
    ways = ([*full[:-1], [*full[-1], *rest]], full)
    return next((each for each in ways if _fits(each, site, role)), [])


def _sharing(members: Sequence[Member], size: int, site: Site, role: Role) -> list[list[Member]]:
    """Return jobs of up to `size` nodes for the trainings that leave devices of theirs idle.

    The largest come first, so that each node is filled, and of those the longest. One that would
    have a job for itself is in none; nor is any where jobs get single devices.
    """
    found: list[list[Member]] = []
    if not site.nodes[role.node].exclusive:
        return found
    for alike in _alike([each for each in members if each.devices]):
        groups: list[list[Member]] = [[]]
        for each in sorted(alike, key=lambda each: (-each.devices, -each.minutes, each.key)):
            together = [*groups[-1], each]
            if _nodes(together, site, role) > size or not _fits([together], site, role):
                groups.append([each])
            else:
                groups[-1] = together
        found += [each for each in groups if _nodes(each, site, role) < len(each)]
    return found


def _fits(groups: Sequence[Group], site: Site, role: Role) -> bool:
    """Whether the site accepts such jobs."""
    try:
        for group in groups:
            site.max_minutes(_nodes(group, site, role), role.qos)
    except DeclarationError:
        return False
    count = site.nodes[role.node].count or math.inf
    parts = site.bundle_parts or math.inf
    return all(len(group) <= parts and _nodes(group, site, role) <= count for group in groups)


def _layout(
    members: Sequence[Member],
    site: Site,
    role: Role,
    groups: Sequence[Group],
    from_nodes: int = 0,
    shared_nodes: int = 0,
) -> Layout:
    """Return the layout of `groups` as bundles and every other training alone."""
    bundles = {each.key: str(number) for number, group in enumerate(groups, 1) for each in group}
    alone = [[each] for each in _without(members, groups)]
    chains = [rounds(group, site, role, site.link_overhead_minutes) for group in [*groups, *alone]]
    jobs = [job for chain in chains for job in chain]
    return Layout(
        from_nodes=from_nodes,
        shared_nodes=shared_nodes,
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
