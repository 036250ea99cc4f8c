"""The validation loss of a model in training, on events that it is not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pipeline.data.events import Events
from pipeline.data.experiment import Column
from pipeline.data.store import Store
from pipeline.families import Reads
from pipeline.nn.batch import Batch
from pipeline.nn.loading import batch_of
from pipeline.nn.losses import WeightedSum
from pipeline.training.engine.engine import Engine, World
from pipeline.training.steps.spec import TrainSpec


@dataclass(frozen=True)
class Validation:
    """The validation events, in batches that the processes take in turn."""

    events: Events
    columns: Sequence[Column]
    reads: Reads
    objective: WeightedSum
    world: World
    batch_events: int
    seed: int

    @classmethod
    def of(cls, spec: TrainSpec, world: World) -> Self | None:
        """Return the validation of `spec`, with its events in memory; None if it has none.

        Raises:
            BadInput: The split is missing, or has too few events.
        """
        selection = spec.validation
        if selection is None:
            return None
        share = -(-spec.training.batch_events // world.size)
        batch_events = min(share, spec.training.micro_events or share)
        columns = Store.open(selection.path).manifest.columns
        events, reads = selection.load(), selection.reads
        return cls(events, columns, reads, spec.objective, world, batch_events, spec.seed)

    def loss(self, engine: Engine) -> float:
        """Return the mean loss over the events; all processes must call this.

        What is drawn for an event is the same at every call and in any number of processes, and
        the random states of the training do not change.
        """
        starts = range(0, len(self.events), self.batch_events)
        rounds = -(-len(starts) // self.world.size)
        mine = [number * self.world.size + self.world.rank for number in range(rounds)]
        # Under ZeRO 3 all processes must run each forward pass together, so a process that has no
        # batch left repeats one, which does not count.
        batches = [
            (self._batch(starts[number % len(starts)]), number < len(starts)) for number in mine
        ]
        return engine.validate(batches, self.objective, self.seed)

    def _batch(self, start: int) -> Batch:
        stop = min(start + self.batch_events, len(self.events))
        return batch_of(self.events.slice(start, stop), self.columns, self.reads, self.seed)
