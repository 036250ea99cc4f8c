"""The batch scripts of a plan, to be read: as `run` submits them, or for another machine."""

from dataclasses import replace
from pathlib import Path

from pipeline.job import Job
from pipeline.planning.plan import Plan, Step
from pipeline.run import Run
from pipeline.scheduler import Elsewhere, render
from pipeline.site import PROJECT, Site
from pipeline.writing import write_text


def is_elsewhere(site: Site, root: Path) -> bool:
    """Whether `site` is another machine than this one, or `root` has a variable that is unset."""
    return "$" in str(root) or (site.detect is not None and not site.here)


def on_its_machine(plan: Plan, root: Path | None) -> Plan:
    """Return the plan with the run folder that its machine has, below `root` or its scratch.

    Its variables stay as they are declared, but for the project that was given: those of this
    machine may have other values.
    """
    project = plan.options.project or f"${PROJECT}"
    scratch = plan.site.scratch.replace(f"${PROJECT}", project)
    if root is not None or not scratch.startswith(("$", "~", "/")):
        return plan
    return replace(plan, run=Run(Path(scratch), plan.run.campaign))


def write_scripts(plan: Plan, folder: Path, *, elsewhere: bool = False) -> list[Path]:
    """Write the first batch script of each chain, bundle and kind of pilot to `folder`.

    Return their paths.
    Those for a machine `elsewhere` import what is installed there, not a copy of this code. Parsl
    completes the command of a pilot's worker pool when the pilot starts.
    """
    together: dict[str, list[Step]] = {}
    for step in plan.steps:
        if not step.in_pilot:
            together.setdefault(step.bundle or step.task.key, []).append(step)
    jobs = [plan.bundle([(step, 1) for step in steps]) for steps in together.values()]
    jobs += [plan.pilot(["process_worker_pool.py"], 1, kind) for kind in plan.kinds]
    machine = Elsewhere(str(plan.run.path)) if elsewhere else None
    written = []
    for job in jobs:
        path = folder / job.script.name
        write_text(path, render(_portable(job) if elsewhere else job, plan.site, machine))
        written.append(path)
    return written


def _portable(job: Job) -> Job:
    """Return `job` without the copy of this machine's code."""
    return job.model_copy(update={"code": ""})
