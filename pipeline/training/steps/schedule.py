"""Learning-rate schedules that count events, so that they hold at any batch and world size.

A schedule is a factor on the rate of each group of parameters, so the ratios between groups that a
parametrisation sets stay constant.
"""

import math
from bisect import bisect_right

from pipeline.campaign import Training

# The default of torch.optim.lr_scheduler.OneCycleLR: it starts at this share of its peak.
ONE_CYCLE_START = 1 / 25


def factor(training: Training, events_seen: int) -> float:
    """Return the share of the peak rate for the batch that starts after `events_seen` events.

    `Training` lists the shapes. The linear warm-up counts the batch itself, so that the first step
    has a rate above zero; the decay of a trapezoid counts it too, so that the last step has one:
    min((s + 1) / warm, 1, (T - s) / decay) for steps of one event (Hägele et al., arXiv
    2405.18392, §2, which also has the decay 1 - √x).
    """
    warm = events_seen >= training.warmup_events
    if training.schedule == "points":
        share = _between(training.points, events_seen / training.events_seen)
        return share if warm else share * _warming(training, events_seen)
    if not warm:
        return _warming(training, events_seen)
    end = training.final_learning_rate / training.learning_rate
    if training.schedule == "constant":
        return 1.0
    if training.schedule == "trapezoid":
        left = max(0, training.events_seen - events_seen) / training.decay
        return end + (1 - end) * _decay(training, min(1.0, left))
    return _cosine(1.0, end, _cooled(training, events_seen))


def first_beta(training: Training, events_seen: int) -> float:
    """Return the first beta of the optimiser for the batch that starts after `events_seen` events.

    With `max_beta` it moves against the rate of a one-cycle, from `max_beta` to betas[0] at the
    peak and back, as in torch.optim.lr_scheduler.OneCycleLR.
    """
    least = training.betas[0]
    if not training.max_beta:
        return least
    if events_seen < training.warmup_events:
        return _cosine(training.max_beta, least, events_seen / training.warmup_events)
    return _cosine(least, training.max_beta, _cooled(training, events_seen))


def _cooled(training: Training, events_seen: int) -> float:
    """Return the share of the events after the warm-up that has been seen."""
    whole = max(1, training.events_seen - training.warmup_events)
    return min(1.0, (events_seen - training.warmup_events) / whole)


def _between(points: tuple[tuple[float, float], ...], share: float) -> float:
    """Return the value at `share` on the straight lines through `points`; of a step, its end."""
    after = bisect_right(points, share, key=lambda point: point[0])
    if after == len(points):
        return points[-1][1]
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (share - left) / (right - left)


def _warming(training: Training, events_seen: int) -> float:
    if training.schedule == "one-cycle":
        return _cosine(ONE_CYCLE_START, 1.0, events_seen / training.warmup_events)
    return min(1.0, (events_seen + training.batch_events) / training.warmup_events)


def _decay(training: Training, left: float) -> float:
    """Return the share of the peak rate when the share `left` of the decay remains."""
    return left if training.decay_shape == "linear" else 1 - math.sqrt(1 - left)


def _cosine(start: float, end: float, done: float) -> float:
    """Return the value between `start` and `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
