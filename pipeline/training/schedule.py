"""Learning-rate schedules that count events, so that they hold at any batch and world size."""

import math

from pipeline.campaign import Training


def learning_rate(training: Training, events_seen: int) -> float:
    """Return the rate for the batch that starts after `events_seen` events.

    Linear warm-up over `warmup_events`, then half a cosine down to `final_learning_rate`.
    """
    peak, final = training.learning_rate, training.final_learning_rate
    if events_seen < training.warmup_events:
        return peak * min(1.0, (events_seen + training.batch_events) / training.warmup_events)
    whole = max(1, training.events_seen - training.warmup_events)
    done = min(1.0, (events_seen - training.warmup_events) / whole)
    return final + (peak - final) * (1 + math.cos(math.pi * done)) / 2
