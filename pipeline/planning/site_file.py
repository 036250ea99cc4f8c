"""The site file of a cluster that nobody has declared: what its scheduler says, and what not."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.scheduler.cluster import Cluster, Limits, NodeKind, Partition
from pipeline.scheduler.node_probe import Devices

SCRATCH = ("SCRATCH", "PSCRATCH", "WORK", "WORKDIR", "MEMBERWORK", "LOCAL_SCRATCH")
YEAR_MINUTES = 525_600  # for a queue without a limit
PILOT_MINUTES = 240
MOST_WORKERS = 32  # of a pilot on a node without devices
NOT_FOUND = "not found: "
BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Choice:
    """What a site file is written for: its name, the partition of trainings, and the facts.

    `devices` are those of a node of this partition, None where nobody looked.
    """

    name: str
    cluster: Cluster
    partition: Partition
    as_of: date
    devices: Devices | None = None

    @property
    def accelerator(self) -> str:
        """What the devices are; cuda where the scheduler's words do not say."""
        known = self.devices.accelerator if self.devices is not None else ""
        return known or self.partition.kinds[0].accelerator or "cuda"


def text(choice: Choice) -> str:
    """Return the site file as TOML; what is not known is a comment with where to ask."""
    parts = [_head(choice), _unknown(choice)]
    names = _node_names(choice.cluster)
    parts += [_nodes(choice, *each) for each in names]
    parts += [_queue(choice, *each) for each in _queues(choice)]
    parts += [_roles(choice, names), _files()]
    return "\n".join("\n".join(part) + "\n" for part in map(list, parts))


def not_found(written: str) -> list[str]:
    """Return what a site file has as not found, by name."""
    return re.findall(rf"(?m)^# (.+?)  # {NOT_FOUND}", written)


def _head(choice: Choice) -> Iterator[str]:
    """Yield the keys of the site itself."""
    cluster = choice.cluster
    yield f"# {cluster.name}, as its scheduler described it. Read it before you use it."
    yield f"name = {_value(choice.name)}"
    yield f"title = {_value(cluster.name)}"
    yield f"as_of = {choice.as_of}"
    yield f"sources = {_value(cluster.sources)}"
    yield f"scheduler = {_value(cluster.scheduler)}"
    yield f"accelerator = {_value(choice.accelerator)}"
    if not (choice.devices or choice.partition.kinds[0].accelerator):
        yield _missing(
            "accelerator", "guessed; `nvidia-smi` or `rocm-smi` on a node, or --ask-node"
        )
    yield f"template = {_value(cluster.template)}"
    folder = next((name for name in SCRATCH if os.environ.get(name)), "")
    yield f"scratch = {_value(f'${folder}/cosmotron' if folder else 'runs')}"
    if not folder:
        yield _missing(
            "scratch", "the site's page on storage; a parallel file system that nodes see"
        )
    if cluster.master_address:
        yield f"master_address = {_value(cluster.master_address)}"
    if cluster.accounts:
        yield f"# Your accounts, of which --project takes one: {', '.join(cluster.accounts)}."


def _unknown(choice: Choice) -> Iterator[str]:
    """Yield a comment for each key that no scheduler knows."""
    yield "# What a scheduler does not know. Take the # away where you have found it."
    for each in choice.cluster.unknown:
        yield f"# {each.what}  # {NOT_FOUND}{_line(each.why)}; ask {_line(each.ask)}"
    yield _missing(
        'detect = { variable = "CLUSTER", value = "x" }', "a variable that only its login nodes set"
    )
    yield _missing('modules = ["…"]', "`module avail`; what Python and the accelerator need")
    yield _missing('balance_command = "…"', "the site's page on accounting")
    yield _missing(
        "qos.*.charge = [{ factor = 1.0 }]", "the same page; one node-hour counts as one until then"
    )
    yield _missing(
        "link_overhead_minutes = 5.0", "`cosmotron forecast` measures it in your first run"
    )
    yield _missing("node_failures = 6.5", "per 1000 node-days; your own first months")
    yield _missing(
        'network_plugin = "…"', "the site's page on NCCL or RCCL, where it has a fast network"
    )
    yield _missing(
        '[environment.multi_node], NCCL_SOCKET_IFNAME = "…"',
        "the same page; `ip -br address` on a node",
    )
    yield _missing(
        "[container]", "docs/containers.md; `apptainer --version`, `podman-hpc --version`"
    )
    yield _missing(
        "bins, walltimes by the size of a job",
        "the site's page on queues: a plug-in may enforce them",
    )


def _missing(what: str, ask: str) -> str:
    """Return the comment for something that was not found."""
    return f"# {what}  # {NOT_FOUND}{ask}"


def _line(words: str) -> str:
    """Return words of a command as one line of a comment."""
    return " ".join(words.split()).rstrip(".")


def _node_names(cluster: Cluster) -> list[tuple[str, Partition, NodeKind]]:
    """Return the name of each kind of nodes, with the first partition that has it."""
    found: list[tuple[str, Partition, NodeKind]] = []
    partitions = cluster.partitions if cluster.has_partitions else cluster.partitions[:1]
    for partition in partitions:
        base = partition.name if cluster.has_partitions else "nodes"
        for number, kind in enumerate(partition.kinds):
            found.append((f"{base}-{number + 1}" if number else base, partition, kind))
    return found


def _nodes(choice: Choice, name: str, partition: Partition, kind: NodeKind) -> Iterator[str]:
    """Yield the table of one kind of nodes."""
    devices = kind.gpus or kind.sockets
    cpus = (kind.usable_cpus or kind.cpus) // devices or 1
    yield f"[nodes.{_key(name)}]  # such as {kind.example}"
    yield f"count = {kind.count}"
    if kind.memory_gb:
        yield f"memory_gb = {kind.memory_gb}"
    yield f"devices = {devices}"
    yield f"cpus_per_device = {cpus}  # as the scheduler counts: hardware threads too"
    yield f"gpus = {kind.gpus}"
    if choice.cluster.has_partitions:
        yield f"partition = {_value(partition.name)}"
    if kind.constraint:
        yield f"constraint = {_value(kind.constraint)}"
    elif kind.features:
        yield f"# constraint = …, if jobs must name one, of: {', '.join(kind.features)}"
    yield f"exclusive = {_value(partition.whole_nodes)}"
    if kind.gpus and _is_of(choice, partition):
        yield from _of_devices(choice, kind)


def _of_devices(choice: Choice, kind: NodeKind) -> Iterator[str]:
    """Yield what is known of the devices of a kind of nodes."""
    seen = choice.devices
    if seen is None or seen.count != kind.gpus:
        yield _missing(
            "device_memory_gb = …", "`nvidia-smi` or `rocm-smi` on a node, or --ask-node"
        )
        yield _missing(
            "device_order, device_cpus", "`nvidia-smi topo -m` or `rocm-smi --showtopo` on a node"
        )
        name = kind.gpu_type or "its devices"
    else:
        yield f"device_memory_gb = {seen.memory_gb}  # {seen.name}"
        if seen.cpus:
            order = sorted(range(seen.count), key=lambda index: _first(seen.cpus[index]))
            yield f"device_order = {_value(order)}  # nvidia-smi topo -m"
            yield f"device_cpus = {_value([seen.cpus[index] for index in order])}"
        else:
            yield _missing("device_order, device_cpus", "`rocm-smi --showtopo` on a node")
        name = seen.name
    yield _missing("peak_tflops = { fp32 = …, bf16 = … }, mfu = { … }", f"the data sheet of {name}")


def _first(cpus: str) -> int:
    """Return the first number in a list of CPUs."""
    return int(re.split("[-,]", cpus)[0])


def _queues(choice: Choice) -> list[tuple[str, Limits, str]]:
    """Return (name, limits, partition) of each queue: partitions, then Slurm's QOS."""
    cluster = choice.cluster
    found = [
        (each.name, each.limits, each.name if cluster.has_partitions else "")
        for each in cluster.partitions
    ]
    names = {name for name, _, _ in found}
    return found + [(name, limits, "") for name, limits in cluster.qos.items() if name not in names]


def _queue(choice: Choice, name: str, limits: Limits, partition: str) -> Iterator[str]:
    """Yield the table of one queue."""
    in_partition = choice.partition.limits.max_minutes if name in choice.cluster.qos else None
    longest = min((each for each in (limits.max_minutes, in_partition) if each), default=None)
    yield f"[qos.{_key(name)}]"
    note = "" if longest else "  # it has no limit"
    yield f"max_minutes = {longest or YEAR_MINUTES}{note}"
    for key in ("min_nodes", "max_nodes", "submitted_jobs", "running_jobs"):
        value = getattr(limits, key)
        if value:
            yield f"{key} = {value}"
    if limits.bins:
        keys = ("min_nodes", "max_nodes", "max_minutes")
        rows = (", ".join(map("{} = {}".format, keys, each)) for each in limits.bins)
        yield f"bins = [{', '.join(f'{{ {row} }}' for row in rows)}]"
    if partition:
        yield f"partition = {_value(partition)}"


def _roles(choice: Choice, names: Sequence[tuple[str, Partition, NodeKind]]) -> Iterator[str]:
    """Yield who works where: trainings, pilots and packs."""
    of_trainings = choice.partition.name
    node, _, kind = next(each for each in names if _is_of(choice, each[1]))
    yield "[training]"
    yield f"node = {_value(node)}"
    yield f"qos = {_value(of_trainings)}"
    if choice.cluster.qos:
        yield f"# Or a QOS of yours, with --qos: {', '.join(choice.cluster.qos)}."
    if choice.cluster.default_qos:
        yield f"# Where none is named, a job gets {choice.cluster.default_qos}."
    yield ""
    longest = min(choice.partition.limits.max_minutes or PILOT_MINUTES, PILOT_MINUTES)
    workers = kind.gpus or min(MOST_WORKERS, max(1, kind.cpus // 4))
    kinds = ["pilot", *(["packs"] if kind.gpus > 1 and choice.partition.whole_nodes else [])]
    for each in kinds:
        yield f"[{each}]"
        yield f"role = {{ node = {_value(node)}, qos = {_value(of_trainings)} }}"
        yield f"workers_per_node = {workers}"
        yield f"walltime_minutes = {longest}"
        yield _missing('login_interface = "…"', "`ip -br address`: where nodes reach this machine")
        yield ""


def _is_of(choice: Choice, partition: Partition) -> bool:
    """Whether trainings use the nodes of a partition; without partitions all have the same."""
    return partition.name == choice.partition.name or not choice.cluster.has_partitions


def _files() -> Iterator[str]:
    """Yield the comment for file systems."""
    yield _missing(
        '[file_systems.scratch], root = "$SCRATCH", locks = true, purge_days = 90, quota_command',
        "the site's page on storage; `mount`, `lfs quota`",
    )


def _key(name: str) -> str:
    """Return a key of TOML, quoted where it must be."""
    return name if BARE.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    """Return a string, number, truth value or list as TOML, which writes them as JSON does."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
