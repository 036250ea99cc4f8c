"""The schedulers by name, and the connection to the one that a site declares."""

import shutil

from pipeline.run import Run
from pipeline.scheduler.interface import (
    SYSTEMS,
    BatchSystem,
    Scheduler,
    SchedulerError,
    batch_system,
)
from pipeline.scheduler.local import LocalScheduler
from pipeline.scheduler.pbs import PbsScheduler
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.site import Site

SYSTEMS |= {each.NAME: each for each in (SlurmScheduler, PbsScheduler, LocalScheduler)}


def connect(site: Site, run: Run) -> Scheduler:
    """Return the scheduler of `site`; jobs of a machine without a scheduler live in `run`."""
    return batch_system(site).connect(site, run)


def at_hand() -> BatchSystem:
    """Return the scheduler whose commands this machine has.

    Raises:
        SchedulerError: It has those of none.
    """
    for system in SYSTEMS.values():
        if system.AT_HAND and shutil.which(system.AT_HAND):
            return system()
    commands = ", ".join(
        f"{each.AT_HAND} ({each.NAME})" for each in SYSTEMS.values() if each.AT_HAND
    )
    message = (
        f"this machine has no scheduler's commands: {commands}. Run it on a login node of the "
        "cluster, with its scheduler's module loaded; a machine without one is the site `local`."
    )
    raise SchedulerError(message)
