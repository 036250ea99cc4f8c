"""Render a batch script, submit it, ask how it goes, cancel it: on Slurm or without a scheduler."""

from pipeline.scheduler.connect import connect
from pipeline.scheduler.interface import NotNowError, Scheduler, SchedulerError
from pipeline.scheduler.script import render

__all__ = ["NotNowError", "Scheduler", "SchedulerError", "connect", "render"]
