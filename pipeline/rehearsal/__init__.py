"""A campaign on a machine that is not there: its queues, its faults and its bill, in seconds."""

from pipeline.rehearsal.rehearse import Rehearsal, rehearse

__all__ = ["Rehearsal", "rehearse"]
