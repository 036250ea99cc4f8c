"""One long training at a constant rate, the trunk, and short decays that branch from it.

A trapezoid of d events is the trunk until its decay begins, so that one trunk serves every data
size: instead of Σd events, the trunk and Σ(decay of d) are trained on (Hägele et al., "Scaling
laws and compute-optimal training beyond fixed training durations", arXiv 2405.18392, §4).
"""

import math
from itertools import pairwise
from typing import Any

from pipeline.campaign.training import Training

# The time that a link needs before its first step and after its last, for any number of events.
LEAST_MINUTES = 10


def branch_point(training: Training) -> int:
    """Return the events that the trunk has seen when the decay of `training` begins.

    It is the last whole batch at full rate.
    """
    return (training.events_seen - training.decay) // training.batch_events * training.batch_events


def trapezoid(training: Training, events: int) -> Training:
    """Return `training` over `events` events in total, with the walltime of its decay only."""
    longest = _changed(training, events_seen=events)
    decay = events - branch_point(longest)
    return _changed(longest, walltime_minutes=minutes(training, decay))


def trunk(training: Training) -> Training:
    """Return the part of the longest `training` before its decay, at a constant rate."""
    events = branch_point(training)
    return _changed(
        training,
        events_seen=events,
        schedule="constant",
        decay_events=0,
        decay_fraction=0.0,
        decay_shape="linear",
        final_learning_rate=0.0,
        walltime_minutes=minutes(training, events),
    )


def minutes(training: Training, events: int) -> int:
    """Return the share of the walltime of `training` that `events` of its events need.

    It is proportional, rounded up, at least `LEAST_MINUTES`, and at most the whole.
    """
    share = math.ceil(training.walltime_minutes * events / training.events_seen)
    return min(max(share, LEAST_MINUTES), training.walltime_minutes)


def rest_minutes(training: Training, begun: float) -> int:
    """Return the walltime of the rest of a `training` of which the share `begun` is done."""
    if not begun:
        return training.walltime_minutes
    return minutes(training, math.ceil(training.events_seen * (1 - begun)))


def check(training: Training, sizes: tuple[int, ...]) -> None:
    """Check that trainings of `sizes` events can branch from one trunk.

    Raises:
        ValueError: They cannot; the message says what to write.
    """
    if training.schedule != "trapezoid":
        message = (
            f'branch: schedule "{training.schedule}" has no constant rate to branch from: write '
            'schedule = "trapezoid"'
        )
        raise ValueError(message)
    if any(later <= earlier for earlier, later in pairwise(sizes)):
        message = f"branch: events {list(sizes)} do not increase: order them, each once"
        raise ValueError(message)
    if not sizes or training.events_seen != sizes[-1]:
        message = (
            f"branch: events_seen {training.events_seen} is not the largest of events "
            f"{list(sizes)}: the data are passed once, so write that number"
        )
        raise ValueError(message)
    decay = training.decay_events or round(training.decay_fraction * sizes[0])
    begins = sizes[0] - decay
    if begins < max(training.batch_events, training.warmup_events):
        message = (
            f"branch: the smallest size {sizes[0]} has no room for a warm-up of "
            f"{training.warmup_events} and a decay of {decay} after at least one batch: make the "
            "decay or the warm-up shorter, or leave that size out"
        )
        raise ValueError(message)


def _changed(training: Training, **changes: Any) -> Training:
    """Return `training` with `changes`, checked."""
    return Training(**{**training.model_dump(), **changes})
