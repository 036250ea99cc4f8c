"""Render a batch script, submit it, query and cancel jobs: on Slurm, PBS or a plain machine."""

from pipeline.scheduler.connect import at_hand, connect
from pipeline.scheduler.elsewhere import Elsewhere
from pipeline.scheduler.interface import (
    BatchSystem,
    NotNowError,
    Scheduler,
    SchedulerError,
    batch_system,
)
from pipeline.scheduler.script import render

__all__ = [
    "BatchSystem",
    "Elsewhere",
    "NotNowError",
    "Scheduler",
    "SchedulerError",
    "at_hand",
    "batch_system",
    "connect",
    "render",
]
