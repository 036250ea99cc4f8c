"""A cluster as its scheduler describes it: nodes, partitions or queues, limits and accounts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.catalog import DeclarationError

CUDA = re.compile(r"nvidia|tesla|rtx|geforce|quadro|(^|[^a-z])([avhbplt]|gh|gb)\d{2,3}s?([^a-z]|$)")
ROCM = re.compile(r"amd|instinct|radeon|(^|[^a-z])mi\d{2,3}")


@dataclass(frozen=True)
class NodeKind:
    """Nodes of one kind: how many, and what each has.

    `cpus` is what the scheduler counts, hardware threads too, and of them `usable_cpus` are left to
    jobs. `gpu_type` is the scheduler's word, empty if it has none; `example` names one node. By
    `constraint` a job gets such nodes, where its partition or queue has others too.
    """

    count: int
    cpus: int
    memory_gb: int
    gpus: int = 0
    gpu_type: str = ""
    features: tuple[str, ...] = ()
    sockets: int = 1
    usable_cpus: int = 0
    example: str = ""
    constraint: str = ""

    @property
    def accelerator(self) -> str:
        """What the words for its devices say: cuda, rocm, cpu without any; empty if they do not."""
        words = " ".join((self.gpu_type, *self.features)).lower()
        if not self.gpus:
            return "cpu"
        if ROCM.search(words):
            return "rocm"
        return "cuda" if CUDA.search(words) else ""


@dataclass(frozen=True)
class Limits:
    """The limits of a queue, None where it has none; `bins` are (nodes from, to, minutes)."""

    max_minutes: int | None = None
    max_nodes: int | None = None
    min_nodes: int | None = None
    submitted_jobs: int | None = None
    running_jobs: int | None = None
    bins: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Partition:
    """Where jobs wait: a partition of Slurm, or a queue of PBS, and the nodes it has."""

    name: str
    kinds: tuple[NodeKind, ...]
    limits: Limits = Limits()
    is_default: bool = False
    whole_nodes: bool = False


@dataclass(frozen=True)
class Unknown:
    """Something that the scheduler did not say: what, why, and where to ask."""

    what: str
    why: str
    ask: str


@dataclass(frozen=True)
class Cluster:
    """A cluster: `sources` are the commands it is from, `qos` the limits of each QOS by name.

    `template` is the one of its batch scripts, and `master_address` the shell expression for the
    first node of a job, empty for the usual one. Where `has_partitions` is not set, all queues are
    on the same nodes.
    """

    name: str
    scheduler: str
    template: str
    sources: tuple[str, ...]
    partitions: tuple[Partition, ...]
    qos: Mapping[str, Limits] = field(default_factory=dict)
    default_qos: str = ""
    accounts: tuple[str, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    master_address: str = ""
    has_partitions: bool = True

    def partition(self, name: str = "") -> Partition:
        """Return the partition `name`; without one the default, or the first with devices.

        Raises:
            DeclarationError: There is none of that name.
        """
        for each in self.partitions:
            if each.name == name or (not name and each.is_default):
                return each
        if name:
            names = ", ".join(each.name for each in self.partitions)
            message = f"{self.name} has no partition {name!r} that you may use. It has: {names}."
            raise DeclarationError(message)
        return max(self.partitions, key=lambda each: max(kind.gpus for kind in each.kinds))


def merged(kinds: Sequence[NodeKind]) -> tuple[NodeKind, ...]:
    """Return the kinds with equal hardware as one each, those with most devices first.

    A merged kind has the features that all of its nodes have.
    """
    alike: dict[tuple[object, ...], list[NodeKind]] = {}
    for kind in kinds:
        hardware = (kind.cpus, kind.memory_gb, kind.gpus, kind.gpu_type, kind.sockets)
        alike.setdefault(hardware, []).append(kind)
    found = []
    for same in alike.values():
        (first, *others) = same
        common = tuple(
            name for name in first.features if all(name in each.features for each in others)
        )
        count = sum(each.count for each in same)
        found.append(replace(first, count=count, features=common))
    return tuple(sorted(found, key=lambda kind: (-kind.gpus, -kind.count)))
