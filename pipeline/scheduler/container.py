"""A job's command, as it runs inside a container image."""

import sys
from collections.abc import Iterable
from pathlib import Path

from pipeline.catalog import DeclarationError
from pipeline.job import VISIBLE, Job
from pipeline.site import Site

# The environment variables that a batch script passes to a process, beside the site's exports.
PASSED = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"),
    *VISIBLE,
    *("COSMOTRON_STARTED", "COSMOTRON_ENDS", "PYTHONPATH"),
)


def contained(job: Job, site: Site, exported: Iterable[str]) -> tuple[str, ...]:
    """Return the command line of `job`, inside its image if it has one.

    The run folder and the copy of the code are mounted under the same paths; the programs are
    those of the image.

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
    names = dict.fromkeys((*PASSED, *exported))
    passed = [part.replace("{name}", each) for each in names for part in site.container.env]
    index = site.container.run.index("{image}")
    before, after = site.container.run[:index], site.container.run[index + 1 :]
    program, *arguments = job.command
    return (*before, *mounts, *passed, job.image, *after, _inside(program), *arguments)


def _run_folder(job: Job) -> Path:
    """Return the run folder that the job's files lie in."""
    return job.folder.parent if job.pilot else job.folder.parent.parent.parent


def _inside(program: str) -> str:
    """Return how the image calls a program of our environment."""
    if program == sys.executable:
        return "python"
    return Path(program).name if Path(program).is_relative_to(sys.prefix) else program
