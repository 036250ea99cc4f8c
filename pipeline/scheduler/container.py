"""A job's command, as it runs inside a container image."""

import sys
from collections.abc import Iterable
from pathlib import Path

from pipeline.catalog import DeclarationError
from pipeline.job import Job
from pipeline.site import Site

# What a process is told by its batch script beside the exports of the site.
TOLD = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"),
    *("CUDA_VISIBLE_DEVICES", "COSMOTRON_STARTED", "COSMOTRON_ENDS", "PYTHONPATH"),
)


def contained(job: Job, site: Site, exported: Iterable[str]) -> tuple[str, ...]:
    """Return the command line of `job`, in its image if it has one.

    The job's folder and the copy of our code are mounted where they lie outside; the programs are
    the image's own.

    Raises:
        DeclarationError: The site declares no way to run an image.
    """
    if not job.image:
        return job.command
    if site.container is None:
        message = f"{job.key}: {site.title} declares no way to run the image {job.image}."
        raise DeclarationError(message)
    # <run>/<stage>/<task>/logs, or <run>/parsl: what a job reads and writes is below its run
    run = _run_folder(job)
    folders = [str(run)]
    if job.code and not Path(job.code).is_relative_to(run):
        folders.append(job.code)
    mounts = [part.replace("{folder}", each) for each in folders for part in site.container.mount]
    names = dict.fromkeys((*TOLD, *exported))
    told = [part.replace("{name}", each) for each in names for part in site.container.env]
    place = site.container.run.index("{image}")
    before, after = site.container.run[:place], site.container.run[place + 1 :]
    program, *arguments = job.command
    return (*before, *mounts, *told, job.image, *after, _inside(program), *arguments)


def _run_folder(job: Job) -> Path:
    """Return the run folder that the job's files lie in."""
    return job.folder.parent if job.pilot else job.folder.parent.parent.parent


def _inside(program: str) -> str:
    """Return how the image calls a program of our environment."""
    if program == sys.executable:
        return "python"
    return Path(program).name if Path(program).is_relative_to(sys.prefix) else program
