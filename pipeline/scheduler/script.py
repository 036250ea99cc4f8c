"""The text of a batch script, from a template that reads like one."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound

from pipeline import catalog, trust
from pipeline.catalog import DeclarationError
from pipeline.job import ACCELERATOR, Job
from pipeline.scheduler.container import contained
from pipeline.scheduler.elsewhere import Elsewhere
from pipeline.scheduler.interface import batch_system
from pipeline.site import NodeClass, Site, cpu_numbers

SHELF = "jobs/templates"
Quote = Callable[[str], str]


@dataclass(frozen=True)
class Part:
    """One link in a template: the whole job, or one of a bundle's `Job.parts`.

    `devices` are the numbers of the GPUs that its processes use, nearest to the CPUs of each: of a
    node that others share, or where the site says in which order. `cpu_masks` bind the processes of
    one that shares its node; none where the site does not say which CPUs are near.
    """

    job: Job
    command: str
    exports: list[tuple[str, str]]
    devices: list[int]
    cpu_masks: list[str]


def render(job: Job, site: Site, elsewhere: Elsewhere | None = None) -> str:
    """Return the batch script of `job` on `site`, as it would be submitted here, or `elsewhere`.

    Raises:
        DeclarationError: The site has no such node class, names no template, or runs no bundles.
    """
    system = batch_system(site)
    if job.parts and not system.RUNS_BUNDLES:
        message = f"{job.key}: {site.title} runs no bundles; its scheduler is {system.NAME}."
        raise DeclarationError(message)
    if job.node not in site.nodes:
        message = f"{job.key}: {site.name} has no nodes {job.node!r}, only {', '.join(site.nodes)}."
        raise DeclarationError(message)
    node = site.nodes[job.node]
    quote = elsewhere.quote if elsewhere is not None else shlex.quote
    try:
        name = f"{site.template}.{system.SUFFIX}.j2"
        template = _templates(catalog.folder(SHELF), quote).get_template(name)
    except TemplateNotFound as error:
        folder = catalog.folder(SHELF)
        names = sorted(path.name.split(".")[0] for path in folder.glob(f"*.{system.SUFFIX}.j2"))
        message = f"{site.name}: no template {site.template!r} in {folder}: {', '.join(names)}."
        raise DeclarationError(message) from error
    queue = site.qos.get(job.qos)
    return template.render(
        job=job,
        site=site,
        node=node,
        partition=queue.partition if queue is not None else "",
        time_min=queue is not None and queue.time_min,
        parts=list(_parts(job, site, quote)),
        visible="ROCR_VISIBLE_DEVICES" if site.accelerator == "rocm" else "CUDA_VISIBLE_DEVICES",
        elsewhere=elsewhere,
        cpus_per_process=cpus_per_process(job, node),
        exports=exports(job, site),
        signal_lead_seconds=signal_lead_seconds(job, site),
    )


def cpus_per_process(job: Job, node: NodeClass) -> int:
    """Return the CPUs that Slurm gives each process of `job`: a pilot takes all of its node."""
    return node.cpus_per_device * (node.devices if job.pilot else 1)


def _parts(job: Job, site: Site, quote: Quote) -> Iterator[Part]:
    """Yield what is started: the job's own command, or those of its parts, on nodes in a row."""
    node = site.nodes[job.node]
    for each in job.parts or (job,):
        exported = exports(each, site)
        command = " ".join(map(quote, contained(each, site, [name for name, _ in exported])))
        yield Part(each, command, exported, _devices(each, node), _cpu_masks(each, node))


def _devices(link: Job, node: NodeClass) -> list[int]:
    """Return the GPUs of a link's processes, where its script has to name them."""
    order = node.device_order or tuple(range(node.gpus))
    if link.positions and order:
        return [order[each] for each in link.positions]
    return list(node.device_order) if node.device_index == "local_id" else []


def _cpu_masks(link: Job, node: NodeClass) -> list[str]:
    """Return the CPUs of each process of a link that shares its node, as srun's masks."""
    if not node.device_cpus:
        return []
    numbers = [cpu_numbers(node.device_cpus[each]) for each in link.positions]
    return [f"{sum(1 << cpu for cpu in cpus):#x}" for cpus in numbers]


def exports(job: Job, site: Site) -> list[tuple[str, str]]:
    """Return the (name, value) pairs that the script exports, sorted by name.

    A bundle exports what depends on a training's size and key in each part.
    """
    environment = site.environment
    system = batch_system(site)
    of_job = {
        "COSMOTRON_JOB_ID": system.JOB_ID or job.key,
        "COSMOTRON_JOB_KEY": job.key,
        "COSMOTRON_NODE_NAMES": system.NODE_NAMES,
    }
    of_job |= trust.exported()
    if job.parts:
        return sorted({**environment.always, **of_job}.items())
    by_size = environment.multi_node if job.nodes > 1 else environment.single_node
    return sorted({**environment.always, **of_job, **by_size, **of_link(job, site)}.items())


def of_link(job: Job, site: Site) -> dict[str, str]:
    """Return the facts of its job and machine that a program gets, which no task.toml holds."""
    node = site.nodes[job.node]
    return {
        ACCELERATOR: site.accelerator if node.gpus else "cpu",
        "COSMOTRON_LINK": job.key,
        "COSMOTRON_SIGNAL_LEAD_SECONDS": str(signal_lead_seconds(job, site)),
        "COSMOTRON_NODES": str(job.nodes),
        "COSMOTRON_NODE_FAILURES": f"{site.node_failures:g}",
        **{
            f"COSMOTRON_PEAK_TFLOPS_{name.upper()}": f"{peak:g}"
            for name, peak in node.peak_tflops.items()
        },
    }


def signal_lead_seconds(job: Job, site: Site) -> int:
    """Return how many seconds before its walltime `job` is signalled to save."""
    return site.lead_seconds(job.walltime_minutes)


@cache
def _templates(folder: Path, quote: Quote) -> Environment:
    """Return the shelf of templates in `folder`; an undefined name in one is an error."""
    templates = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # shell, not HTML; arguments are quoted below
    )
    templates.filters["quote"] = quote
    return templates
