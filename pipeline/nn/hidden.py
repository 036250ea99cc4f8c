"""What a backbone gives of a batch, and a head takes.

Axes: P points, packed · B events · W width · L hidden states of a point.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Graph

# What a store of features holds beside what it was made from.
FEATURES, EVENT_FEATURES = "features", "event_features"


@dataclass(frozen=True)
class Hidden:
    """What a backbone gives of a batch: of each point L states (P, W), of each event one (B, W).

    `events` is None where the backbone has no token that stands for the event, `graph` where it
    makes none of the points.
    """

    points: Sequence[Tensor]
    events: Tensor | None = None
    graph: Graph | None = None

    def pooled(self, batch: Batch) -> Tensor:
        """Return the state of each event (B, W), the mean of its points where there is none."""
        if self.events is not None:
            return self.events
        last = self.points[-1]
        total = last.new_zeros(batch.lengths.events, last.shape[1]).index_add(0, batch.event, last)
        return total / batch.sizes.unsqueeze(1)


HiddenOf = Callable[[Batch], Hidden]


def as_stored(batch: Batch) -> Hidden:
    """Return what is read of a store of features."""
    return Hidden([batch.per_point[FEATURES]], batch.per_event.get(EVENT_FEATURES))
