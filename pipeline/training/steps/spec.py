"""What the training loop needs to train one model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from pipeline.campaign import Training, Trunk
from pipeline.campaign.branching import branch_point
from pipeline.data.loading import Selection
from pipeline.nn.batch import Batch, MicroBatch
from pipeline.nn.losses import WeightedSum
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.engine.optimisers import Scale
from pipeline.training.loader import training_batches


def _unchanged(batch: Batch) -> Batch:
    return batch


@dataclass(frozen=True)
class TrainSpec:
    """A model, its objective and its events; `seed` sets the order in which events are visited.

    `prepare` changes each batch before the model gets it. `scales` are the learning-rate scales of
    individual parameters. A training may start at a
    checkpoint of its `trunk`, and it keeps its own checkpoints at `branch_points` for others to
    start at. Each checkpoint records the loss on the events of `validation`; with `takes_best` the
    result has the weights where that loss is lowest. `extra` holds further entries of the result,
    `metadata` those of the header of the weights. `flops_per_point` counts forward and backward,
    None if unknown.
    """

    model: nn.Module
    objective: WeightedSum
    events: Selection
    seed: int
    training: Training
    validation: Selection | None = None
    takes_best: bool = False
    prepare: Callable[[Batch], Batch] = _unchanged
    scales: Mapping[str, Scale] = field(default_factory=dict)
    trunk: Trunk | None = None
    branch_points: tuple[int, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    flops_per_point: float | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """The events seen whose checkpoints are never removed.

        Others branch from there; and a longer training goes on from where a decay began.
        """
        decays = self.training.schedule == "trapezoid"
        return (*self.branch_points, *([branch_point(self.training)] if decays else []))

    @property
    def start(self) -> tuple[Path, int] | None:
        """The checkpoints of the trunk, and the events seen of the one to start at."""
        if self.trunk is None:
            return None
        return TaskFolder(self.trunk.folder).checkpoints, self.trunk.events_seen

    def batches(self, world: World, seen: int) -> Iterator[list[MicroBatch]]:
        """Yield this process's share of each batch, starting after `seen` events of all."""
        shares = training_batches(
            self.events, self.training, self.seed, rank=world.rank, ranks=world.size, seen=seen
        )
        for share in shares:
            yield [
                replace(each, batch=self.prepare(each.batch), is_whole=self.prepare is _unchanged)
                for each in share
            ]
