"""Render a batch script, submit it, ask how it goes, cancel it: on Slurm or without a scheduler."""

from pipeline.scheduler.connect import connect
from pipeline.scheduler.interface import NotNowError, Scheduler, SchedulerError
from pipeline.scheduler.script import BUNDLES, render

__all__ = ["BUNDLES", "NotNowError", "Scheduler", "SchedulerError", "connect", "render"]
