"""The declaration of a machine: its nodes, queues, charges and policies."""

import os
import re
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline import catalog, trust
from pipeline.catalog import Declaration, DeclarationError
from pipeline.precision import Precision

SHELF = "sites"
CPU_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
PROJECT = "COSMOTRON_PROJECT"  # names the project that pays; a scratch may have it in its path


def cpu_numbers(cpus: str) -> list[int]:
    """Return the numbers in a list of CPUs as Linux writes it: "0-2,8" is 0, 1, 2, 8.

    Raises:
        ValueError: It is no such list.
    """
    if not CPU_LIST.fullmatch(cpus):
        message = f"{cpus!r} is no list of CPUs such as '0-15,64-79'"
        raise ValueError(message)
    ends = [[int(end) for end in each.split("-")] for each in cpus.split(",")]
    return [cpu for each in ends for cpu in range(each[0], each[-1] + 1)]


class Detect(Declaration):
    """The environment variable that tells one machine from another."""

    variable: str
    value: str


class NodeClass(Declaration):
    """One kind of node, and how a job binds to it.

    A device is what one training process drives: a GPU, one MI250X die (GCD), or a share of the
    CPU. `gpus` is the number that Slurm counts; 0 where devices are CPU shares. `peak_tflops` is
    the peak rate of a device, in 10¹² operations per second, by precision; `mfu`
    is the share of it that a training sustains, for estimates until one is measured. `count` is the
    number of such nodes in the machine. `memory_gb` is per node, `device_memory_gb` per device, of
    which a training may hold all but `device_overhead`, the share that allocator, driver and
    communication hold beside its tensors: a guess, until it is measured on the machine.
    `directives` are further lines of the script's head, `launch` further options of srun or
    mpiexec, `bind` those of them that only a training with whole nodes gets.

    `device_order` has the numbers of the GPUs in the order of the cores that are nearest to them,
    and `device_cpus` the CPUs of each, in that order, as Linux counts them: "0-15,64-79".
    """

    count: PositiveInt | None = None
    memory_gb: PositiveInt | None = None
    device_memory_gb: PositiveInt | None = None
    device_overhead: float = Field(default=0.15, ge=0, lt=1)
    devices: PositiveInt
    cpus_per_device: PositiveInt
    peak_tflops: dict[Precision, PositiveFloat] = {}
    mfu: dict[Precision, PositiveFloat] = {}
    gpus: NonNegativeInt = 0
    constraint: str = ""
    partition: str = ""
    gpu_bind: str = ""
    device_index: Literal["local_id", "zero"] = "local_id"
    exclusive: bool = True
    account_suffix: str = ""
    directives: tuple[str, ...] = ()
    launch: tuple[str, ...] = ()
    bind: tuple[str, ...] = ()
    device_order: tuple[NonNegativeInt, ...] = ()
    device_cpus: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _each_device_once(self) -> "NodeClass":
        """Check that the order has each GPU once, and that no two devices share a CPU."""
        if self.device_order and sorted(self.device_order) != list(range(self.gpus)):
            message = (
                f"device_order {list(self.device_order)} has not each of {self.gpus} GPUs once"
            )
            raise ValueError(message)
        cpus = [cpu for each in self.device_cpus for cpu in cpu_numbers(each)]
        if self.device_cpus and len(self.device_cpus) != self.devices:
            message = (
                f"device_cpus names {len(self.device_cpus)} devices, and a node has {self.devices}"
            )
            raise ValueError(message)
        if len(cpus) != len(set(cpus)):
            message = f"device_cpus {list(self.device_cpus)} gives a CPU to two devices"
            raise ValueError(message)
        return self


class Charge(Declaration):
    """One part of a charge: `factor` for jobs of `from_nodes` or more, after `after_minutes`.

    It applies to the node classes `nodes`, or to all of them if none is named.
    """

    factor: NonNegativeFloat
    nodes: tuple[str, ...] = ()
    from_nodes: PositiveInt = 1
    after_minutes: NonNegativeInt = 0
    confirmed: bool = True
    note: str = ""


class Bin(Declaration):
    """A range of job sizes, and the longest walltime that it gets."""

    min_nodes: PositiveInt
    max_nodes: PositiveInt
    max_minutes: PositiveInt


class Wait(Declaration):
    """The mean wait in the queue for jobs of `from_nodes` or more."""

    from_nodes: PositiveInt = 1
    mean_hours: NonNegativeFloat


class Maintenance(Declaration):
    """A maintenance of `hours` every `interval_days`; a job must end before it begins."""

    interval_days: PositiveInt
    hours: PositiveFloat


class Qos(Declaration):
    """A queue as the site's policy page describes it.

    A user may have at most `submitted_jobs` jobs there, and at most `running_jobs` of them running.
    `time_min` says that a job must also state its shortest useful walltime; ours state their full
    walltime. A queue's own `bins` and `waits` replace the site's. `partition` is for a queue that
    Slurm knows as a partition, not as a QOS; the site's bins do not apply to it. `internal` are the
    names by which Slurm knows the queue, if they differ (Perlmutter's gpu_regular). A job is
    preempted `hours_to_preemption` after it began, on average, but not in the first
    `protected_minutes`.
    """

    max_minutes: PositiveInt
    min_minutes: PositiveInt | None = None
    max_nodes: PositiveInt | None = None
    min_nodes: PositiveInt | None = None
    submitted_jobs: PositiveInt | None = None
    running_jobs: PositiveInt | None = None
    time_min: bool = False
    bins: tuple[Bin, ...] = ()
    partition: str = ""
    internal: tuple[str, ...] = ()
    note: str = ""
    chaining: bool = True
    charge: tuple[Charge, ...] = (Charge(factor=1.0),)
    waits: tuple[Wait, ...] = ()
    hours_to_preemption: PositiveFloat | None = None
    protected_minutes: NonNegativeInt = 0

    def takes(self, nodes: int) -> bool:
        """Whether a job of so many nodes is of a size that the queue accepts."""
        return (self.min_nodes or 1) <= nodes <= (self.max_nodes or nodes)


class Role(Declaration):
    """The node class and the queue for one kind of work.

    Trainings may have `alternatives` to the queue `qos`: each goes to the cheapest of them that
    takes its size and walltime, and of those that cost the same to the first, `qos` before others.
    """

    node: str
    qos: str = ""
    alternatives: tuple[str, ...] = ()


class Pilot(Declaration):
    """How Parsl's pilots run on a site: blocks of nodes that many short tasks share."""

    role: Role
    workers_per_node: PositiveInt
    walltime_minutes: PositiveInt
    nodes_per_block: PositiveInt = 1
    max_blocks: PositiveInt = 1
    login_interface: str = ""
    idle_seconds: PositiveInt = 30
    poll_seconds: PositiveInt = 30


class FileSystem(Declaration):
    """A file system: its `root`, in which the shell expands variables, and its policies.

    `locks` is whether flock works there; a file that nobody has read for `purge_days` is deleted.
    `touch` is whether the site's policy lets users set the times of files to prevent that,
    `purge_policy` its words and their source, `keep_at` where to keep what is still needed.
    `quota_command` prints the quota, for the user.
    """

    root: str
    locks: bool
    purge_days: PositiveInt | None = None
    touch: Literal["allowed", "forbidden", "unclear"] = "unclear"
    purge_policy: str = ""
    keep_at: str = ""
    quota_command: str = ""
    for_runs: bool = True
    note: str = ""


class Container(Declaration):
    """How a site runs an image: `run` precedes a command, `probe` tests whether the image exists.

    In both, "{image}" stands for the image's name or path. `mount` is repeated for each "{folder}"
    that the command needs, `env` for each "{name}" of an environment variable to pass; both come
    before the image. `recipe` is the file in `containers/`, `build` the commands that make it.
    """

    recipe: str
    run: tuple[str, ...]
    probe: tuple[str, ...]
    mount: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    build: tuple[str, ...] = ()


class Environment(Declaration):
    """The exports of a batch script: for every job, for multi-node jobs, for single-node jobs."""

    always: dict[str, str] = {}
    multi_node: dict[str, str] = {}
    single_node: dict[str, str] = {}


class Site(Declaration):
    """One machine, as declared in `sites/<name>.toml`; every number carries a date and a source.

    `scheduler` is the name of a class in `pipeline.scheduler`. `node_failures` is the number of
    failures per 1000 node-days. `link_overhead_minutes` is the time of a training's link without
    steps: until its first step and after its last one, as long as none has been measured.

    `group` is the group of users that shares the runs, empty for none.

    A user may have at most `submitted_jobs` jobs in all queues, of which `eligible_jobs` may start.
    A bundle has at most `bundle_parts` trainings side by side. In `packs` trainings of one device
    that are short share the nodes of `training`, where jobs get whole nodes only.

    `charges_lost_jobs` is whether a job without an end in accounting is charged. `balance_format`
    is the format of the balance, which `balance_command` prints or the user downloads; a job may be
    missing there until `balance_lag_hours` after its end. The balance counts from the beginning of
    the allocation year, on the day and month of `allocation_year_begins`. `network_plugin` is the
    network that NCCL (or RCCL) names in its log at NCCL_DEBUG=INFO if it uses the fast one. `waits`
    and `maintenance` are for rehearsals alone.
    """

    name: str
    title: str
    as_of: date
    sources: tuple[str, ...] = ()
    scheduler: str
    accelerator: Literal["cpu", "cuda", "rocm"]
    template: str = "slurm"
    detect: Detect | None = None
    scratch: str = "runs"
    group: str = ""
    purge_days: PositiveInt | None = None
    balance_command: str = ""
    balance_format: Literal["showusage", "sbank", "sfapi"] | None = None
    balance_lag_hours: NonNegativeFloat = 24.0
    allocation_year_begins: date | None = None
    charges_lost_jobs: bool = True
    master_address: str = "$(hostname)"
    mpi: str = ""
    signal_lead_seconds: PositiveInt = 300
    node_failures: NonNegativeFloat = 0.0
    link_overhead_minutes: NonNegativeFloat = 0.0
    submitted_jobs: PositiveInt = 100
    eligible_jobs: PositiveInt | None = None
    bundle_parts: PositiveInt | None = None
    poll_seconds: PositiveInt = 30
    waits: tuple[Wait, ...] = ()
    maintenance: Maintenance | None = None
    modules: tuple[str, ...] = ()
    network_plugin: str = ""
    file_systems: dict[str, FileSystem] = {}
    container: Container | None = None
    prologue: tuple[str, ...] = ()
    environment: Environment = Environment()
    nodes: dict[str, NodeClass]
    qos: dict[str, Qos] = {}
    bins: tuple[Bin, ...] = ()
    training: Role
    pilot: Pilot
    packs: Pilot | None = None

    @model_validator(mode="after")
    def _roles_exist(self) -> "Site":
        """Check that the roles name node classes and queues of this site."""
        roles = {"training": self.training, "pilot.role": self.pilot.role}
        if self.packs is not None:
            roles["packs.role"] = self.packs.role
        for key, role in roles.items():
            if role.node not in self.nodes:
                message = f"{key}.node {role.node!r} is none of nodes: {', '.join(self.nodes)}"
                raise ValueError(message)
            if role.qos and role.qos not in self.qos:
                message = f"{key}.qos {role.qos!r} is none of qos: {', '.join(self.qos)}"
                raise ValueError(message)
            if role.alternatives and role is not self.training:
                message = f"{key}.alternatives: only trainings have any; pilots wait in {key}.qos"
                raise ValueError(message)
        for name in self.training.alternatives:
            if name not in self.qos:
                message = f"training.alternatives {name!r} is none of qos: {', '.join(self.qos)}"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _charges_exist(self) -> "Site":
        """Check that the charges name node classes of this site."""
        for name, queue in self.qos.items():
            named = {each for piece in queue.charge for each in piece.nodes}
            for each in sorted(named - self.nodes.keys()):
                known = ", ".join(self.nodes)
                message = f"qos.{name}.charge.nodes {each!r} is none of nodes: {known}"
                raise ValueError(message)
        return self

    @property
    def here(self) -> bool:
        """Whether this process runs on the site."""
        return self.detect is not None and os.environ.get(self.detect.variable) == self.detect.value

    def account(self, project: str, node: str) -> str:
        """Return the account that pays for nodes of class `node`, with its suffix (NERSC: `_g`)."""
        suffix = self.nodes[node].account_suffix
        return project if not project or project.endswith(suffix) else project + suffix

    def max_minutes(self, nodes: int, qos: str) -> int | None:
        """Return the longest walltime of a job of `nodes` nodes in `qos`, None if unlimited.

        Raises:
            DeclarationError: The site or the queue accepts no job of that size.
        """
        limits = []
        if qos:
            queue = self.qos[qos]
            if not queue.takes(nodes):
                raise DeclarationError(self._too_large_or_small(nodes, qos))
            limits.append(queue.max_minutes)
        bins = self.bins_of(qos)
        if bins:
            fitting = [b.max_minutes for b in bins if b.min_nodes <= nodes <= b.max_nodes]
            if not fitting:
                least, largest = min(b.min_nodes for b in bins), max(b.max_nodes for b in bins)
                message = f"{self.name}: no bin takes {nodes} nodes ({least} to {largest})."
                raise DeclarationError(message)
            limits.append(max(fitting))
        return min(limits, default=None)

    def _too_large_or_small(self, nodes: int, qos: str) -> str:
        """Return what to say of a job that the queue does not take, and the queues that do."""
        least, most = self.qos[qos].min_nodes or 1, self.qos[qos].max_nodes
        sizes = f"{least} nodes at least" if nodes < least else f"{most} nodes"
        others = [name for name, each in self.qos.items() if each.takes(nodes)]
        way = f" Choose with --qos: {', '.join(others)}." if others else ""
        return f"{self.name}: QOS {qos!r} takes {sizes}, not {nodes}.{way}"

    def lead_seconds(self, walltime_minutes: int) -> int:
        """Return how many seconds before its walltime a job is signalled to save.

        It is `signal_lead_seconds`, but at most a tenth of the walltime; in short jobs that tenth
        may grow to a minute, or to half of the walltime if that is less.
        """
        short = max(6 * walltime_minutes, min(60, 30 * walltime_minutes))
        return min(self.signal_lead_seconds, short)

    def walltime_minutes(self, minutes: int, nodes: int, qos: str) -> tuple[int, float]:
        """Return (walltime, minutes of it for work) of a job with `minutes` of work to do.

        Work that fits into one job uses its whole walltime; each link of a chain saves before its
        end. The walltime is never below the queue's minimum.

        Raises:
            DeclarationError: The site or the queue accepts no job of that size.
        """
        longest = self.max_minutes(nodes, qos)
        least = self.qos[qos].min_minutes if qos in self.qos else None
        minutes = max(minutes, least or 0)
        if longest is None or minutes <= longest:
            return minutes, minutes
        return longest, longest - self.lead_seconds(longest) / 60

    def mean_wait_hours(self, nodes: float, qos: str) -> float:
        """Return the mean wait of a job of `nodes` nodes in `qos`; 0 if none is declared."""
        queue = self.qos.get(qos)
        waits = (queue.waits if queue is not None else ()) or self.waits
        fitting = [each for each in waits if each.from_nodes <= max(nodes, 1)]
        return max(fitting, key=lambda each: each.from_nodes).mean_hours if fitting else 0.0

    def bins_of(self, qos: str) -> tuple[Bin, ...]:
        """Return the bins that apply to a job in `qos`."""
        queue = self.qos.get(qos)
        if queue is None:
            return self.bins
        return queue.bins or (() if queue.partition else self.bins)


def load_site(name: str | None = None) -> Site:
    """Load the site `name` (a declared name or a path), or the one this process runs on.

    Raises:
        OtherOwnerError: The file is another user's, and its lines would be those of your scripts.
    """
    if name is not None:
        if name.endswith(".toml") and Path(name).is_file():
            trust.check(Path(name))
        return catalog.load(SHELF, name, Site)
    sites = [catalog.load(SHELF, each, Site) for each in catalog.names(SHELF)]
    here = next((site for site in sites if site.here), None)
    return here or catalog.load(SHELF, "local", Site)
