"""The loss of a model in training on events that it is not trained on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pipeline.nn.batch import Batch
from pipeline.nn.losses import WeightedSum
from pipeline.training.engine.engine import Engine, World
from pipeline.training.loader import EventSet, load

if TYPE_CHECKING:
    from pipeline.training.steps.loop import Work


@dataclass(frozen=True)
class Validation:
    """The events in batches of a process's share, of which every process takes its own in turn."""

    events: EventSet
    objective: WeightedSum
    world: World
    batch_events: int
    seed: int

    @classmethod
    def of(cls, work: "Work", world: World) -> Self | None:
        """Return the validation that `work` asks for, with its events in memory.

        Raises:
            BadInput: The split is not there, or holds too few events.
        """
        if work.validation is None:
            return None
        share = -(-work.training.batch_events // world.size)
        together = min(share, work.training.micro_events or share)
        return cls(load(work.validation), work.objective, world, together, work.seed)

    def loss(self, engine: Engine) -> float:
        """Return the mean loss over the events; all processes must ask.

        What a model draws at random follows from the seed, and the training's own draws go on as
        if nothing had been asked.
        """
        starts = range(0, len(self.events), self.batch_events)
        turns = -(-len(starts) // self.world.size)
        mine = [turn * self.world.size + self.world.rank for turn in range(turns)]
        # Under ZeRO 3 all must go forward together: who has no batch left repeats one, for nothing.
        batches = [
            (self._batch(starts[number % len(starts)]), number < len(starts)) for number in mine
        ]
        return engine.held_out(batches, self.objective, self.seed)

    def _batch(self, start: int) -> Batch:
        return self.events.batch(start, min(start + self.batch_events, len(self.events)))
