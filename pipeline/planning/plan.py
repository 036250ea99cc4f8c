"""The plan of a campaign on a site: jobs, links and node-hours, before anything is submitted."""

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from pipeline import shared
from pipeline.budget.cost import node_hours
from pipeline.campaign import CHAINED, Task, Training
from pipeline.campaign.branching import rest_minutes
from pipeline.catalog import DeclarationError
from pipeline.job import Job
from pipeline.planning import code_copy, products
from pipeline.planning.bundling import Layout, Member, layouts, rounds
from pipeline.planning.packing import Assignment, assign, node_count
from pipeline.planning.pilots import fitted
from pipeline.run import Run
from pipeline.scheduler import batch_system
from pipeline.site import Pilot, Role, Site

PROGRAMS = {
    "simulate": "pipeline.data.simulate",
    "stage": "pipeline.data.stage",
    "fetch": "pipeline.data.fetch",
    "tokenize": "pipeline.training.programs.tokenize",
    "pretrain": "pipeline.training.programs.pretrain",
    "features": "pipeline.training.programs.features",
    "finetune": "pipeline.training.programs.finetune",
    "evaluate": "pipeline.training.programs.evaluate",
    "probe": "pipeline.training.programs.probe",
    "predict": "pipeline.training.programs.predict_parts",
}
PILOT, PACK = "pilot", "pack"  # the two kinds of job whose nodes tasks share


@dataclass(frozen=True)
class RunOptions:
    """The user's options beside the campaign: project, queue, cap, profiling, image, bundling.

    `group` is the group that shares the run, empty for none. `only` names the part of the campaign
    that this machine runs (`planning.selection`), nothing for all of it.
    """

    project: str = ""
    qos: str = ""
    cap_node_hours: float | None = None
    profile_steps: int = 0
    image: str = ""
    bundle: Literal["cheapest", "soonest", "never"] = "cheapest"
    group: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One task as it would run: in a pilot, without nodes of its own, or as a chain of batch jobs.

    `qos` is the queue of a chain's jobs, empty where the site has none.
    `shares` is the kind of job whose nodes the task shares: a pilot or a pack. The links of all
    steps of one `bundle` are parts of the same jobs, which may get a longer walltime than
    `link_minutes`; a step that `shares_node` has some of its devices there. Of a training that goes
    on from what was made before, the share `begun` of its events is done, and all else is of the
    rest.
    """

    task: Task
    nodes: int = 0
    processes_per_node: int = 0
    qos: str = ""
    link_minutes: int = 0
    links: int = 0
    node_hours: float = 0.0
    shares: str = ""
    bundle: str = ""
    begun: float = 0.0
    shares_node: bool = False

    @property
    def minutes(self) -> int:
        """What the training takes in all links, by its walltime; 0 for another task."""
        if not isinstance(self.task, CHAINED):
            return 0
        return rest_minutes(self.task.training, self.begun)

    @property
    def chained(self) -> bool:
        """Whether the training needs more than one link, each of which submits the next."""
        return self.links > 1

    @property
    def most_links(self) -> int:
        """The most links that the chain may have, so that no fault repeats for ever."""
        return 2 * self.links + 10

    @property
    def in_pilot(self) -> bool:
        """Whether the task runs in Parsl's pilots, of either kind."""
        return self.links == 0


@dataclass(frozen=True)
class Plan:
    """A campaign's steps on a site, the user's options, and the copy of the code that they run.

    `layouts` are the ways in which its trainings can share jobs; the first is the best, and used.
    """

    run: Run
    site: Site
    options: RunOptions
    steps: Sequence[Step]
    code: str = ""
    layouts: Sequence[Layout] = ()

    @property
    def training_role(self) -> Role:
        """Nodes and queue of the trainings, but for those that go to an alternative one."""
        return Role(node=self.site.training.node, qos=self.options.qos or self.site.training.qos)

    def role(self, stage: str, qos: str | None) -> Role:
        """Return the nodes and queue of a job: of a kind of pilots, or of a training in `qos`.

        None is the queue of a job that an older version recorded.
        """
        if stage in (PILOT, PACK):
            return self.pilots(stage).role
        return self.training_role if qos is None else Role(node=self.site.training.node, qos=qos)

    def pilots(self, kind: str) -> Pilot:
        """Return the pilots of a kind, `PILOT` or `PACK`: the site's, cut to what tasks need."""
        return self._pilots[kind]

    @cached_property
    def _pilots(self) -> dict[str, Pilot]:
        """The pilots of each kind."""
        declared = {PILOT: self.site.pilot, PACK: self.site.packs or self.site.pilot}
        overhead = self.site.link_overhead_minutes
        return {
            kind: fitted(each, self._in_pilots(kind), overhead) for kind, each in declared.items()
        }

    def _in_pilots(self, kind: str) -> list[Task]:
        """Return the tasks that share pilots of a kind."""
        return [step.task for step in self.steps if step.shares == kind]

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of pilots that the steps need."""
        return [kind for kind in (PILOT, PACK) if any(kind == each.shares for each in self.steps)]

    @property
    def pilot_node_hours(self) -> float:
        """The most node-hours that the pilots may cost, if each uses its whole walltime."""
        return sum(self.node_hours_of(kind) for kind in self.kinds)

    def node_hours_of(self, kind: str) -> float:
        """Return the most node-hours that the pilots of one kind may cost."""
        pilot = self.pilots(kind)
        nodes = pilot.nodes_per_block * pilot.max_blocks
        return node_hours(self.site, pilot.role, nodes=nodes, seconds=pilot.walltime_minutes * 60)

    @property
    def node_hours(self) -> float:
        """The most node-hours that the whole plan may cost."""
        return self.pilot_node_hours + sum(step.node_hours for step in self.steps)

    @property
    def umask(self) -> str:
        """The umask of the jobs in a run that a group shares, empty for the user's own."""
        return f"{shared.UMASK:03o}" if shared.is_shared(self.run.path) else ""

    def link(self, step: Step, number: int) -> Job:
        """Return the batch job of link `number` (from 1) of a training's chain."""
        role = self.role(step.task.stage, step.qos)
        folder = self.run.task(step.task.key)
        module = PROGRAMS[step.task.stage]
        steps = self.options.profile_steps
        options = ("--profile", str(steps)) if steps else ()
        continuation = (sys.executable, "-m", "pipeline.chains.continuation")
        needs_no_controller = step.chained or batch_system(self.site).HAS_QUEUE
        link = (str(folder.path), str(number))
        return Job(
            key=job_key(self.run, step.task.key, number),
            folder=folder.logs,
            command=(sys.executable, "-m", module, str(folder.path), *options),
            node=role.node,
            nodes=step.nodes,
            processes_per_node=step.processes_per_node,
            walltime_minutes=step.link_minutes,
            account=self.site.account(self.options.project, node=role.node),
            qos=role.qos,
            image=self.options.image,
            code=self.code,
            umask=self.umask,
            before=(*continuation, "begin", *link) if needs_no_controller else (),
            afterwards=(*continuation, "end", *link) if needs_no_controller else (),
        )

    def bundle(self, links: Sequence[tuple[Step, int]]) -> Job:
        """Return the batch job of one link, or of several side by side: each a (step, number)."""
        if len(links) == 1:
            return self.link(*links[0])
        jobs = [self.link(*each) for each in links]
        (first, *_) = jobs
        per_node = self.site.nodes[first.node].devices
        sizes = [(each.nodes, each.processes_per_node) for each in jobs]
        nodes = node_count(sizes, per_node)
        wanted = max(step.minutes for step, _ in links)
        minutes, _ = self.site.walltime_minutes(wanted, nodes, first.qos)
        continuation = (sys.executable, "-m", "pipeline.chains.continuation")
        of_links = [
            word
            for step, number in links
            for word in (str(self.run.task(step.task.key).path), str(number))
        ]
        keys = "/".join(each.key for each in jobs)
        digest = hashlib.sha256(keys.encode()).hexdigest()[:8]
        assigned = assign(sizes, per_node)
        shared = any(each.devices for each in assigned)
        parts = tuple(_part(each, minutes, at) for each, at in zip(jobs, assigned, strict=True))
        return first.model_copy(
            update={
                "key": f"{self.run.campaign}.bundle.{links[0][0].bundle}-{digest}",
                "folder": self.run.bundles,
                "command": (),
                "nodes": nodes,
                "processes_per_node": per_node if shared else first.processes_per_node,
                "walltime_minutes": minutes,
                "before": (*continuation, "begin", *of_links),
                "afterwards": (*continuation, "onward", *of_links),
                "parts": parts,
            }
        )

    def pilot(self, command: Sequence[str], number: int, kind: str = PILOT) -> Job:
        """Return the batch job of pilot `number` (from 1), which runs `command` on each node."""
        pilot = self.pilots(kind)
        node = pilot.role.node
        return Job(
            key=job_key(self.run, kind, number),
            folder=self.run.parsl,
            command=tuple(command),
            node=node,
            nodes=pilot.nodes_per_block,
            processes_per_node=1,
            walltime_minutes=pilot.walltime_minutes,
            account=self.site.account(self.options.project, node=node),
            qos=pilot.role.qos,
            image=self.options.image,
            code=self.code,
            umask=self.umask,
            pilot=True,
        )


def _part(link: Job, minutes: int, at: Assignment) -> Job:
    """Return `link` as a part of a bundle of `minutes`; the bundle begins and continues it."""
    *program, _, folder, number = link.afterwards
    changes = {
        "walltime_minutes": minutes,
        "before": (),
        "afterwards": (*program, "judge", folder, number),
        "first_node": at.first_node,
        "positions": at.devices,
    }
    return link.model_copy(update=changes)


def job_key(run: Run, task_key: str, number: int) -> str:
    """Return the idempotency key of one job; two runs never share one.

    Slurm remembers jobs for longer than run folders exist: a folder that was removed and made again
    must not find the jobs of the first.
    """
    digest = hashlib.sha256(f"{run.identity}/{task_key}".encode()).hexdigest()[:8]
    return f"{run.campaign}.{task_key.replace('/', '.')}.{number}-{digest}"


def shares(task: Task, site: Site, role: Role) -> str:
    """Return the kind of job whose nodes `task` shares, empty for trainings with their own nodes.

    Where jobs get whole nodes, a training of one device would leave the other devices idle: it runs
    in a pack, if its walltime fits.
    """
    if not isinstance(task, CHAINED):
        return PILOT
    node = site.nodes[role.node]
    fits = site.packs is not None and task.training.walltime_minutes <= site.packs.walltime_minutes
    small = task.training.devices == 1 < node.devices and node.exclusive
    return PACK if small and fits else ""


def make_plan(
    tasks: Sequence[Task],
    run: Run,
    site: Site,
    options: RunOptions,
    begun: Mapping[str, float] = {},
) -> Plan:
    """Return the plan of `tasks` on `site`.

    Args:
        tasks: What is to be done.
        run: Where.
        site: On which machine.
        options: What the user chose.
        begun: The share that is done of each training that goes on from what was made before.

    Raises:
        DeclarationError: The site has no such queue, or accepts no such job.
    """
    if options.qos and options.qos not in site.qos:
        known = ", ".join(site.qos) or "(none)"
        message = f"{site.name}: no QOS {options.qos!r}. Declared: {known}."
        raise DeclarationError(message)
    plan = Plan(run, site, options, (), str(code_copy.folder(run).absolute()))
    role = plan.training_role
    queues = [role.qos] if options.qos else [role.qos, *site.training.alternatives]
    steps = [_step(task, site, role, queues, begun.get(task.key, 0.0)) for task in tasks]
    may_bundle = options.bundle != "never" and batch_system(site).RUNS_BUNDLES
    members = _members(steps, site.nodes[role.node].devices, role.qos) if may_bundle else {}
    found = (
        layouts(list(members.values()), site, role, soonest=options.bundle == "soonest")
        if len(members) > 1
        else []
    )
    names = found[0].bundles if found else {}
    steps = [_bundled(step, members, names, site, role) for step in steps]
    for step in steps:
        _check_chain(step, site)
    return replace(plan, steps=steps, layouts=found)


def _members(steps: Sequence[Step], per_node: int, qos: str) -> dict[str, Member]:
    """Return the trainings in `qos`, which may share jobs, by key, each with those it waits for.

    Those in packs are not among these: a bundle waits for the members that need one.
    """
    makers = products.makers([step.task for step in steps])
    after: dict[str, frozenset[str]] = {}
    found = {}
    for step in steps:
        key, needs = step.task.key, (*step.task.needs, *products.reads(step.task, makers))
        waits = frozenset().union(*(after.get(each, ()) for each in needs))
        after[key] = waits if step.in_pilot else waits | {key}
        shares_node = step.nodes == 1 and step.processes_per_node < per_node
        if not step.in_pilot and step.qos == qos:
            devices = step.processes_per_node if shares_node else 0
            found[key] = Member(key, step.nodes, step.minutes, devices, waits)
    return found


def _bundled(
    step: Step, members: Mapping[str, Member], names: Mapping[str, str], site: Site, role: Role
) -> Step:
    """Return `step` with its links and its share of the bundle, if `names` has one for it.

    The price of each job is shared by the devices of those that it runs.
    """
    name = names.get(step.task.key)
    if name is None:
        return step
    together = [members[key] for key, bundle in names.items() if bundle == name]
    per_node = site.nodes[role.node].devices
    links, hours, begun = 0, 0.0, 0.0
    for nodes, minutes in rounds(together, site, role, 0.0):
        if begun >= step.minutes:
            break
        held = [e.nodes * (e.devices or per_node) for e in together if e.minutes > begun]
        price = node_hours(site, role, nodes=nodes, seconds=60 * minutes)
        hours += price * step.nodes * step.processes_per_node / sum(held)
        links, begun = links + 1, begun + minutes
    shares_node = members[step.task.key].devices > 0
    return replace(step, bundle=name, links=links, node_hours=hours, shares_node=shares_node)


def _step(task: Task, site: Site, role: Role, queues: Sequence[str], begun: float) -> Step:
    """Return `task`, of which the share `begun` is done, as it would run on `site`.

    A chain runs in that of the `queues` where it costs least, and of equal ones in the first.

    Raises:
        DeclarationError: The first queue does not accept it, and none of the others does.
    """
    shared = shares(task, site, role)
    if shared or not isinstance(task, CHAINED):
        return Step(task, shares=shared, begun=begun)
    chains, refusals = [], []
    for qos in queues:
        try:
            in_queue = Role(node=role.node, qos=qos)
            chains.append(_chain(task, task.training, site, in_queue, begun))
        except DeclarationError as error:
            refusals.append(error)
    if not chains:
        raise refusals[0]
    allowed = [each for each in chains if each.links == 1 or _may_chain(site, each.qos)]
    return min(allowed or chains, key=lambda each: round(each.node_hours, 6))


def _chain(task: Task, training: Training, site: Site, role: Role, begun: float) -> Step:
    """Return a training as a chain in one queue.

    Raises:
        DeclarationError: The queue accepts no job of its size.
    """
    nodes, per_node = processes(training, site, role)
    minutes = rest_minutes(training, begun)
    walltime, work = site.walltime_minutes(minutes, nodes, role.qos)
    return Step(
        task=task,
        nodes=nodes,
        processes_per_node=per_node,
        qos=role.qos,
        link_minutes=walltime,
        links=math.ceil(minutes / work),
        node_hours=node_hours(site, role, nodes=nodes, seconds=max(minutes, work) * 60),
        begun=begun,
    )


def processes(training: Training, site: Site, role: Role) -> tuple[int, int]:
    """Return (nodes, processes on each) for the devices that `training` requests.

    Raises:
        DeclarationError: The devices do not fill whole nodes evenly.
    """
    per_node = min(training.devices, site.nodes[role.node].devices)
    if training.devices % per_node:
        message = (
            f"{training.devices} devices do not spread evenly over {site.name}'s nodes of "
            f"{per_node}. Ask for a multiple of {per_node}."
        )
        raise DeclarationError(message)
    return training.devices // per_node, per_node


def _may_chain(site: Site, qos: str) -> bool:
    """Whether the policy of a queue allows chains."""
    return not qos or site.qos[qos].chaining


def _check_chain(step: Step, site: Site) -> None:
    """Refuse a chain in a queue whose policy forbids it."""
    if step.links > 1 and not _may_chain(site, step.qos):
        message = (
            f"{site.name}: {step.task.key} needs {step.links} links, and QOS {step.qos!r} forbids "
            "chains. Choose another with --qos."
        )
        raise DeclarationError(message)
