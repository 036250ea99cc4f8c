"""How a global batch is divided: lanes among processes, and a process's events into micro-batches.

Pure arithmetic, the same in every process. With B events a batch, N processes and K micro-batches
in each, DeepSpeed takes the mean over processes of the mean over micro-batches of the losses ℓ it
is given. A micro-batch of n events has the weight w = n N K / B, so that

    1/N Σ_processes 1/K Σ_micro-batches w ℓ  =  1/B Σ_events ℓ_event

whatever N, K and the sizes are. If everything divides evenly, w is exactly 1.
"""

import itertools
from dataclasses import dataclass

from pipeline.campaign import Training
from pipeline.data.errors import BadInput


@dataclass(frozen=True)
class EventRange:
    """The events `start` to `stop` of a process's share of the batch: one micro-batch.

    Its loss, a mean over its events, has the weight `weight`. The weight 0 marks a repeated event,
    which fills up a process that has one micro-batch fewer than the others.
    """

    start: int
    stop: int
    weight: float

    @property
    def events(self) -> int:
        """The number of events in one forward pass."""
        return self.stop - self.start


def events_per_process(training: Training, rank: int, ranks: int) -> int:
    """Return how many events of each batch the process `rank` of `ranks` has, by its lanes.

    Raises:
        BadInput: There are more processes than lanes, so that some would have no event.
    """
    if ranks > training.lanes:
        message = (
            f"{ranks} processes for batches of {training.batch_events} events in {training.lanes} "
            f"lanes: some would have nothing to do. Use at most {training.lanes} processes, or a "
            "larger batch_events."
        )
        raise BadInput(message)
    return len(range(rank, training.lanes, ranks)) * (training.batch_events // training.lanes)


def accumulation_steps(training: Training, ranks: int) -> int:
    """Return the number of micro-batches per batch, which is the same in every process.

    Raises:
        BadInput: There are more processes than lanes.
    """
    largest = events_per_process(training, 0, ranks)  # the first process has the most lanes
    return -(-largest // (training.micro_events or largest))


def micro_batches(training: Training, rank: int, ranks: int) -> list[EventRange]:
    """Return the micro-batches of the process `rank` of `ranks`, as equal in size as possible.

    Raises:
        BadInput: There are more processes than lanes.
    """
    events, count = events_per_process(training, rank, ranks), accumulation_steps(training, ranks)
    cuts = [events * number // count for number in range(count + 1)]
    ranges = [
        EventRange(start, stop, (stop - start) * ranks * count / training.batch_events)
        for start, stop in itertools.pairwise(cuts)
        if stop > start
    ]
    return ranges + [EventRange(0, 1, 0.0)] * (count - len(ranges))
