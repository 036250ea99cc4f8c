"""A cluster as qstat and pbsnodes describe it: OpenPBS, PBS Professional, as text."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from pipeline.scheduler.cluster import Cluster, Limits, NodeKind, Partition, Unknown, merged
from pipeline.scheduler.interface import SchedulerError

Call = Callable[..., str]  # of a command's words; returns what it prints
Facts = Mapping[str, str]

SERVER, QUEUES, NODES = ("qstat", "-Bf"), ("qstat", "-Qf"), ("pbsnodes", "-a")
ENTRY = re.compile(r"(?m)^(?:(?:Queue|Server): )?(\S+)$")
LINE = re.compile(r"^\s+([\w.]+) = (.*)$")
SIZES = {"kb": 1e-6, "mb": 1e-3, "gb": 1.0, "tb": 1e3, "b": 1e-9}
OF_USER = re.compile(r"u:(?:PBS_GENERIC)=(\d+)")


def read(call: Call) -> Cluster:
    """Return the cluster that PBS's commands describe.

    Raises:
        SchedulerError: One of them fails, or prints something else than documented.
    """
    servers = dict(_entries(call(*SERVER), "qstat -Bf"))
    queues = dict(_entries(call(*QUEUES), "qstat -Qf"))
    kinds = merged([_kind(name, each) for name, each in _entries(call(*NODES), "pbsnodes -a")])
    name, server = next(iter(servers.items()))
    default = server.get("default_queue", "")
    partitions = tuple(
        Partition(
            name=queue,
            kinds=kinds,
            limits=_limits(facts, queues),
            is_default=queue == default,
            whole_nodes=True,
        )
        for queue, facts in queues.items()
        if _takes_jobs(facts)
    )
    if not partitions:
        message = "qstat -Qf shows no queue that is enabled and started. Ask who administers it."
        raise SchedulerError(message)
    return Cluster(
        name=name,
        scheduler="pbs",
        template="pbs",
        sources=("qstat -Bf", "qstat -Qf", "pbsnodes -a"),
        partitions=partitions,
        master_address='$(head -n 1 "$PBS_NODEFILE")',
        has_partitions=False,
        unknown=(
            Unknown("accounts", "PBS lists none", "the site's portal, or a qsub that worked"),
            Unknown("which nodes a queue has", "qstat does not say", "the site's page on queues"),
        ),
    )


def _entries(answer: str, command: str) -> Iterator[tuple[str, Facts]]:
    """Yield the (name, facts) of each server, queue or node.

    Raises:
        SchedulerError: There is none.
    """
    parts = ENTRY.split(answer.replace("\n\t", ""))  # long values go on after a tab
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        matches = (LINE.match(line) for line in body.splitlines())
        yield name, {each[1]: each[2].strip() for each in matches if each is not None}
    if len(parts) < 3:
        message = f"{command} printed {answer[:80]!r}, where a name and its facts were expected."
        raise SchedulerError(message)


def _takes_jobs(facts: Facts) -> bool:
    """Whether users submit to a queue: it is on, and not only for what another routes to it."""
    is_on = facts.get("enabled") == facts.get("started") == "True"
    return is_on and facts.get("from_route_only") != "True"


def _limits(facts: Facts, queues: Mapping[str, Facts]) -> Limits:
    """Return the limits of a queue; one that routes has a bin for each of its destinations."""
    limits = Limits(
        max_minutes=_minutes(facts.get("resources_max.walltime", "")),
        max_nodes=_nodes(facts, "resources_max"),
        min_nodes=_nodes(facts, "resources_min"),
        submitted_jobs=_of_user(facts.get("max_queued", "")),
        running_jobs=_of_user(facts.get("max_run", "")),
    )
    names = facts.get("route_destinations", "").split(",")
    parts = [_limits(queues[name], queues) for name in names if name in queues]
    bins = tuple(
        (each.min_nodes or 1, each.max_nodes, each.max_minutes)
        for each in parts
        if each.max_nodes and each.max_minutes
    )
    if not bins:
        return limits
    return replace(
        limits,
        max_minutes=max(longest for _, _, longest in bins),
        max_nodes=max(most for _, most, _ in bins),
        min_nodes=min(least for least, _, _ in bins),
        bins=bins,
    )


def _nodes(facts: Facts, prefix: str) -> int | None:
    """Return a limit on nodes, under either of its names."""
    words = facts.get(f"{prefix}.nodect") or facts.get(f"{prefix}.nodes") or ""
    return int(words) if words.isdecimal() and int(words) else None


def _of_user(words: str) -> int | None:
    """Return the limit of any user in "[u:PBS_GENERIC=10]"."""
    match = OF_USER.search(words)
    return int(match[1]) if match else None


def _minutes(words: str) -> int | None:
    """Return "hours:minutes:seconds" in minutes, None where there is no limit."""
    parts = words.split(":")
    if len(parts) != 3 or not all(each.isdecimal() for each in parts):
        return None
    return 60 * int(parts[0]) + int(parts[1])


def _kind(name: str, facts: Facts) -> NodeKind:
    """Return a node as a kind of one."""
    memory = re.fullmatch(r"(\d+)([kmgt]?b)", facts.get("resources_available.mem", ""))
    cpus, gpus = _count(facts, "ncpus"), _count(facts, "ngpus")
    return NodeKind(
        count=1,
        cpus=cpus,
        memory_gb=round(int(memory[1]) * SIZES[memory[2]]) if memory else 0,
        gpus=gpus,
        constraint=f"ncpus={cpus}" + (f":ngpus={gpus}" if gpus else ""),
        gpu_type=facts.get("resources_available.gputype", ""),
        example=name,
    )


def _count(facts: Facts, name: str) -> int:
    """Return a number among the resources of a node, 0 if it has none."""
    words = facts.get(f"resources_available.{name}", "")
    return int(words) if words.isdecimal() else 0
