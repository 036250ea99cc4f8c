"""Checks of a plan against the policies of its site, before anything is submitted.

`plan.make_plan` itself refuses chains in a queue that forbids them, jobs larger than a queue or a
bin accepts, and devices that do not fill whole nodes.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.campaign import CHAINED
from pipeline.catalog import DeclarationError
from pipeline.planning import truth
from pipeline.planning.plan import Plan
from pipeline.scheduler import Scheduler
from pipeline.site import FileSystem, Site

PROBE_SECONDS = 60


def check(plan: Plan, scheduler: Scheduler) -> None:
    """Check that the plan respects the policies of its site.

    Raises:
        DeclarationError: It does not; the message has a line for each violation.
        SchedulerError: The scheduler does not list the user's accounts.
    """
    found = misuse(plan, scheduler)
    if found:
        lines = "\n".join(f"  - {each}" for each in found)
        message = f"Nothing was submitted:\n{lines}\nTo submit anyway: --no-check"
        raise DeclarationError(message)


def misuse(plan: Plan, scheduler: Scheduler) -> list[str]:
    """Return a line for each misuse; the check that queries the scheduler comes last."""
    found = [line for each in CHECKS for line in each(plan)]
    return found + list(_account(plan, scheduler))


def _nodes(plan: Plan) -> Iterator[str]:
    """More nodes than the site has."""
    site, role = plan.site, plan.training_role
    count = site.nodes[role.node].count
    for step in plan.steps:
        if count is not None and step.nodes > count:
            yield (
                f"{step.task.key} requests {step.nodes} nodes, and {site.title} has {count} of the "
                f"kind {role.node!r}. Lower `devices` in the campaign."
            )


def _pilots(plan: Plan) -> Iterator[str]:
    """Pilots with a longer walltime than their queue or bin grants."""
    site = plan.site
    for kind in plan.kinds:
        pilot = plan.pilots(kind)
        longest = site.max_minutes(pilot.nodes_per_block, pilot.role.qos)
        if longest is not None and pilot.walltime_minutes > longest:
            yield (
                f"{site.name}: its {kind}s request {pilot.walltime_minutes} minutes, and "
                f"{pilot.nodes_per_block} node(s) get at most {longest}. Correct "
                f"{kind}.walltime_minutes in a site file of your own (--site)."
            )


def _precision(plan: Plan) -> Iterator[str]:
    """A precision that the devices of the site have not."""
    site = plan.site
    trainings = (step.task.training for step in plan.steps if isinstance(step.task, CHAINED))
    if site.accelerator != "cuda" and any(each.precision == "tf32" for each in trainings):
        yield (
            f'precision = "tf32" is of NVIDIA\'s GPUs, and {site.title} has none: it would compute '
            'in fp32. Declare "fp32" or "bf16".'
        )


def _image(plan: Plan) -> Iterator[str]:
    """A container image that does not exist, or a site that cannot run one."""
    if plan.options.image and (problem := image_problem(plan.site, plan.options.image)):
        yield problem


def image_problem(site: Site, image: str) -> str:
    """Return why `image` cannot run on `site`, empty if it exists there."""
    if site.container is None:
        return f"{site.title} declares no way to run an image. Leave out --image {image}."
    probe = [word.replace("{image}", image) for word in site.container.probe]
    try:
        probed = subprocess.run(probe, capture_output=True, check=False, timeout=PROBE_SECONDS)
        is_there = probed.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        is_there = False
    if is_there:
        return ""
    return (
        f"the image {image} does not exist, by `{' '.join(probe)}`. Build it from "
        f"containers/{site.container.recipe}, or give another with --image."
    )


def _file_system(plan: Plan) -> Iterator[str]:
    """A run folder on a file system without locks, or on one that is not for runs."""
    path = plan.run.path.absolute()
    found = file_system(plan.site, path)
    if found is None:
        return
    name, there = found
    if not there.locks:
        yield (
            f"{path} lies on {name}, where locks (flock) do not work: Parsl, HDF5 and SQLite need "
            f"them. Choose another folder with --root, such as {plan.site.scratch}."
        )
    elif not there.for_runs:
        yield (
            f"{path} lies on {name}, which is not for runs. Choose another folder with --root, "
            f"such as {plan.site.scratch}."
        )


def _purge(plan: Plan) -> Iterator[str]:
    """A purge before the campaign can be over."""
    found = file_system(plan.site, plan.run.path.absolute())
    days = found[1].purge_days if found is not None else plan.site.purge_days
    if days is None:
        return
    needed = timedelta(minutes=shortest_minutes(plan))
    if needed > timedelta(days=days):
        purged, over = (datetime.now(UTC) + each for each in (timedelta(days=days), needed))
        yield (
            f"data that is staged today and not read again may be purged from {purged:%Y-%m-%d} on "
            f"({days} days), and the campaign ends on {over:%Y-%m-%d} at the earliest, even if no "
            "job ever waits. Keep a copy of its data elsewhere, or split the campaign."
        )


def _account(plan: Plan, scheduler: Scheduler) -> Iterator[str]:
    """An account that this user may not charge."""
    site, project = plan.site, plan.options.project
    known = scheduler.accounts()
    if not project or known is None:
        return
    roles = [plan.training_role, *(plan.pilots(kind).role for kind in plan.kinds)]
    for account in dict.fromkeys(site.account(project, role.node) for role in roles):
        if account not in known:
            yield (
                f"{account!r} is no account of yours on {site.title}. Yours: "
                f"{', '.join(sorted(known)) or 'none'}. Give another with --project."
            )


CHECKS: tuple[Callable[[Plan], Iterator[str]], ...] = (
    _nodes, _pilots, _precision, _image, _file_system, _purge, truth.problems,
)  # fmt: skip


def file_system(site: Site, path: Path) -> tuple[str, FileSystem] | None:
    """Return (name, facts) of the file system of `site` that `path` lies on, None if unknown."""
    roots = {
        name: Path(os.path.expandvars(each.root)).expanduser()
        for name, each in site.file_systems.items()
    }
    fitting = [name for name, root in roots.items() if path.is_relative_to(root)]
    if not fitting:
        return None
    name = max(fitting, key=lambda each: len(roots[each].parts))
    return name, site.file_systems[name]


def shortest_minutes(plan: Plan) -> float:
    """Return the length of the plan if no job ever waits and each takes its whole walltime.

    It is the longest path through the graph; tasks in pilots count as zero.
    """
    ends: dict[str, float] = {}
    for step in plan.steps:  # each after those it needs
        begins = max((ends.get(key, 0.0) for key in step.task.needs), default=0.0)
        ends[step.task.key] = begins + step.links * step.link_minutes
    return max(ends.values(), default=0.0)
