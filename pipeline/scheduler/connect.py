"""The schedulers by name, and the connection to the one that a site declares."""

from pipeline.run import Run
from pipeline.scheduler.interface import SYSTEMS, Scheduler, batch_system
from pipeline.scheduler.local import LocalScheduler
from pipeline.scheduler.pbs import PbsScheduler
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.site import Site

SYSTEMS |= {each.NAME: each for each in (SlurmScheduler, PbsScheduler, LocalScheduler)}


def connect(site: Site, run: Run) -> Scheduler:
    """Return the scheduler of `site`; jobs of a machine without a scheduler live in `run`."""
    return batch_system(site).connect(site, run)
