"""How a global batch is shared: lanes to processes, and a process's events to micro-batches.

Pure arithmetic, the same in every process. With B events a batch, N processes and K micro-batches
in each, DeepSpeed takes the mean over processes of the mean over micro-batches of the losses ℓ it
is given. A micro-batch of n events has the weight w = n N K / B, so that

    1/N Σ_processes 1/K Σ_micro-batches w ℓ  =  1/B Σ_events ℓ_event

whatever N, K and the sizes are. Where everything divides, w is exactly 1.
"""

import itertools
from dataclasses import dataclass

from pipeline.campaign import Training
from pipeline.data.errors import BadInput


@dataclass(frozen=True)
class Part:
    """The events `start` to `stop` of a process's share of the batch: one micro-batch.

    Its loss, a mean over its events, counts `weight` times. A weight of 0 is of a repeated event,
    where other processes have one micro-batch more.
    """

    start: int
    stop: int
    weight: float

    @property
    def events(self) -> int:
        """The number of events that are taken forward at once."""
        return self.stop - self.start


def held(training: Training, rank: int, ranks: int) -> int:
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


def accumulation(training: Training, ranks: int) -> int:
    """Return into how many micro-batches every process cuts its share of the batch.

    Raises:
        BadInput: There are more processes than lanes.
    """
    most = held(training, 0, ranks)  # the first process has the most lanes
    return -(-most // (training.micro_events or most))


def parts(training: Training, rank: int, ranks: int) -> list[Part]:
    """Return the micro-batches of the process `rank` of `ranks`, as even as they can be.

    Raises:
        BadInput: There are more processes than lanes.
    """
    events, count = held(training, rank, ranks), accumulation(training, ranks)
    cuts = [events * number // count for number in range(count + 1)]
    taken = [(start, stop) for start, stop in itertools.pairwise(cuts) if stop > start]
    counted = [
        Part(start, stop, (stop - start) * ranks * count / training.batch_events)
        for start, stop in taken
    ]
    return counted + [Part(0, 1, 0.0)] * (count - len(counted))
