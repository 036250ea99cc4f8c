"""A cluster as sinfo, scontrol and sacctmgr describe it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.scheduler.cluster import Cluster, Limits, NodeKind, Partition, Unknown, merged
from pipeline.scheduler.interface import SchedulerError

Call = Callable[..., str]  # of a command's words; returns what it prints

# One line for each partition and each configuration of its nodes; sinfo(1), "--format".
NODES = ("sinfo", "--noheader", "--exact", "--format=%R|%D|%c|%m|%G|%f|%z|%N")
PARTITIONS = ("scontrol", "show", "partition", "--oneliner")
CONFIGURATION = ("scontrol", "show", "config")
QOS = (
    *("sacctmgr", "--noheader", "--parsable2", "show", "qos"),
    "format=Name,MaxWall,MaxTRES,MaxSubmitJobsPerUser,MaxJobsPerUser",
)
ASSOCIATIONS = ("sacctmgr", "--noheader", "--parsable2", "show", "associations")
PAIR = re.compile(r"(\w+)=(\S*)")
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
NO_ACCOUNTING = "`sacctmgr show associations`, or who administers the cluster"


def read(call: Call, user: str) -> Cluster:
    """Return the cluster that Slurm's commands describe to `user`.

    Raises:
        SchedulerError: sinfo or scontrol fails, or prints something else than documented.
    """
    nodes = _kinds(call(*NODES))
    configuration = dict(re.findall(r"(?m)^(\w+)\s+= (.*)$", call(*CONFIGURATION)))
    qos, accounts, default_qos, unknown = _accounting(call, user)
    partitions = [
        _partition(line, nodes, qos) for line in call(*PARTITIONS).splitlines() if line.strip()
    ]
    usable = [each for each in partitions if each is not None and each.kinds]
    if not usable:
        message = "scontrol shows no partition that is up and has nodes. Ask who administers it."
        raise SchedulerError(message)
    return Cluster(
        name=configuration.get("ClusterName", "").strip() or "cluster",
        scheduler="slurm",
        template="slurm",
        sources=(
            " ".join(NODES[:1]),
            "scontrol show partition",
            "scontrol show config",
            "sacctmgr",
        ),
        partitions=tuple(_with_usable_cpus(each, call) for each in usable),
        qos=qos,
        default_qos=default_qos,
        accounts=accounts,
        unknown=unknown,
    )


def minutes(words: str) -> int | None:
    """Return a limit of Slurm in minutes, None where there is none.

    It is written as "days-hours:minutes:seconds" with parts left out: "2-00:00:00", "30:00", "60".

    Raises:
        SchedulerError: It is no such time.
    """
    if words in ("", "UNLIMITED", "NONE", "infinite", "N/A"):
        return None
    match = TIME.fullmatch(words)
    if match is None:
        message = f"{words!r} is no time as Slurm writes it, such as 2-00:00:00."
        raise SchedulerError(message)
    days, *parts = match.groups()
    numbers = [int(each) for each in parts if each is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, mins, *_ = [*numbers, 0, 0]
        return 1440 * int(days) + 60 * hours + mins
    if len(numbers) == 3:
        return 60 * numbers[0] + numbers[1]
    return numbers[0]  # minutes, or minutes:seconds


def _kinds(answer: str) -> dict[str, list[NodeKind]]:
    """Return the kinds of nodes of each partition.

    Raises:
        SchedulerError: A line has other fields than those requested.
    """
    found: dict[str, list[NodeKind]] = {}
    for line in answer.splitlines():
        fields = line.split("|")
        if len(fields) != 8 or not all(_number(each) for each in fields[1:4]):
            message = (
                f"sinfo printed {line!r}, where partition, nodes, CPUs, memory, GRES, features, "
                "sockets and names were expected. Is SINFO_FORMAT an alias, or sinfo a wrapper?"
            )
            raise SchedulerError(message)
        partition, count, cpus, memory, gres, features, shape, names = fields
        gpus, gpu_type = _gpus(gres)
        kind = NodeKind(
            count=_number(count),
            cpus=_number(cpus),
            memory_gb=round(_number(memory) / 1000),
            gpus=gpus,
            gpu_type=gpu_type,
            features=tuple(each for each in features.split(",") if each not in ("", "(null)")),
            sockets=_number(shape.partition(":")[0]) or 1,
            example=names,
        )
        found.setdefault(partition, []).append(kind)
    return found


def _number(words: str) -> int:
    """Return the number in "128" or "128+", 0 if there is none."""
    return int(words.rstrip("+")) if words.rstrip("+").isdecimal() else 0


def _gpus(gres: str) -> tuple[int, str]:
    """Return (number, type) of the GPUs in "gpu:a100:4(S:0-3),nvme:1"."""
    count, types = 0, []
    for each in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *words = each.split(":")
        if name != "gpu":
            continue
        count += _number(words[-1]) if words else 1
        types += words[:-1]
    return count, " ".join(dict.fromkeys(types))


def _partition(
    line: str, nodes: dict[str, list[NodeKind]], qos: dict[str, Limits]
) -> Partition | None:
    """Return one line of `scontrol show partition`; None for one that is not up.

    Raises:
        SchedulerError: It is no such line.
    """
    facts = dict(PAIR.findall(line))
    if "PartitionName" not in facts:
        message = f"scontrol printed {line[:80]!r}, where PartitionName=… was expected."
        raise SchedulerError(message)
    if facts.get("State", "UP") != "UP":
        return None
    of_qos = qos.get(facts.get("QoS", ""), Limits())
    times = [each for each in (minutes(facts.get("MaxTime", "")), of_qos.max_minutes) if each]
    sizes = [each for each in (_number(facts.get("MaxNodes", "")), of_qos.max_nodes) if each]
    return Partition(
        name=facts["PartitionName"],
        kinds=_constrained(merged(nodes.get(facts["PartitionName"], []))),
        limits=replace(
            of_qos,
            max_minutes=min(times, default=None),
            max_nodes=min(sizes, default=None),
            min_nodes=_number(facts.get("MinNodes", "")) or None,
        ),
        is_default=facts.get("Default") == "YES",
        whole_nodes=facts.get("OverSubscribe", "").startswith("EXCLUSIVE"),
    )


def _constrained(kinds: tuple[NodeKind, ...]) -> tuple[NodeKind, ...]:
    """Return the kinds of a partition, each with a feature that only its nodes have, if several."""
    if len(kinds) < 2:
        return kinds
    found = []
    for kind in kinds:
        others = {name for each in kinds if each != kind for name in each.features}
        mine = [name for name in kind.features if name not in others]
        found.append(replace(kind, constraint=mine[0] if mine else ""))
    return tuple(found)


def _accounting(
    call: Call, user: str
) -> tuple[dict[str, Limits], tuple[str, ...], str, tuple[Unknown, ...]]:
    """Return the limits of each QOS of `user`, the accounts, the default QOS, what is unknown."""
    try:
        rows = _rows(call(*ASSOCIATIONS, f"user={user}", "format=Account,QOS,DefaultQOS"), 3)
        limits = {name: _limits(*rest) for name, *rest in _rows(call(*QOS), 5)}
    except SchedulerError as error:
        unknown = Unknown("accounts and QOS", f"sacctmgr: {error}", NO_ACCOUNTING)
        return {}, (), "", (unknown,)
    allowed = [name for _, names, _ in rows for name in names.split(",") if name]
    accounts = tuple(dict.fromkeys(account for account, _, _ in rows))
    default = next((name for _, _, name in rows if name), "")
    mine = {name: limits.get(name, Limits()) for name in dict.fromkeys(allowed)}
    none = () if rows else (Unknown("accounts", f"sacctmgr knows none of {user}", NO_ACCOUNTING),)
    return mine or limits, accounts, default, none


def _rows(answer: str, count: int) -> list[list[str]]:
    """Return the fields of each line of `sacctmgr --parsable2`.

    Raises:
        SchedulerError: A line has another number of fields.
    """
    rows = [line.split("|") for line in answer.splitlines() if line.strip()]
    for row in rows:
        if len(row) != count:
            message = f"sacctmgr printed {'|'.join(row)!r}, where {count} fields were expected."
            raise SchedulerError(message)
    return rows


def _limits(wall: str, tres: str, submitted: str, running: str) -> Limits:
    """Return the limits of a QOS."""
    nodes = dict(each.partition("=")[::2] for each in tres.split(",") if each).get("node", "")
    return Limits(
        max_minutes=minutes(wall),
        max_nodes=_number(nodes) or None,
        submitted_jobs=_number(submitted) or None,
        running_jobs=_number(running) or None,
    )


def _with_usable_cpus(partition: Partition, call: Call) -> Partition:
    """Return the partition with the CPUs that an example of each kind leaves to jobs."""
    return replace(partition, kinds=tuple(_usable(kind, call) for kind in partition.kinds))


def _usable(kind: NodeKind, call: Call) -> NodeKind:
    """Return the kind with the CPUs of a node that its system does not keep (CPUEfctv)."""
    try:
        names: Sequence[str] = call("scontrol", "show", "hostnames", kind.example).split()
        facts = dict(PAIR.findall(call("scontrol", "show", "node", names[0], "--oneliner")))
    except (SchedulerError, IndexError):
        return kind
    return replace(kind, usable_cpus=_number(facts.get("CPUEfctv", "")), example=names[0])
