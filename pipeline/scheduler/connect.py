"""The scheduler of a site."""

from pipeline.run import Run
from pipeline.scheduler.interface import Scheduler
from pipeline.scheduler.local import LocalScheduler
from pipeline.scheduler.pbs import PbsScheduler
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.site import Site


def connect(site: Site, run: Run) -> Scheduler:
    """Return the scheduler that runs jobs on `site`; jobs without a scheduler live in `run`."""
    if site.scheduler == "slurm":
        return SlurmScheduler()
    return PbsScheduler() if site.scheduler == "pbs" else LocalScheduler(site, run)
