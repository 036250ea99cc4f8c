"""A campaign on a simulated machine: its queues, faults and cost, in seconds."""

from pipeline.rehearsal.rehearse import Rehearsal, rehearse

__all__ = ["Rehearsal", "rehearse"]
