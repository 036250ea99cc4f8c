"""The held-out losses of pretrained models, with what each was trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.records import Probed
from pipeline.report.tasks import Table, TaskView


@dataclass(frozen=True)
class HeldOut:
    """The held-out loss of one pretrained model, as a finished probe measured it.

    `grid` names the probe and the family of the model, since other losses are other things.
    `parent` is the pretraining, `events` how many it had.
    """

    grid: str
    parent: TaskView
    events: int
    loss: float

    @property
    def model(self) -> Table:
        """The declaration of the model."""
        model: Table = self.parent.declaration["model"]
        return model


def held_out(tasks: Sequence[TaskView]) -> Iterator[HeldOut]:
    """Yield the held-out losses that the finished probes among `tasks` measured."""
    pretrained = {task.key: task for task in tasks if task.stage == "pretrain"}
    for task in tasks:
        needs = task.declaration.get("needs", ())  # missing where only a part of it is on disk
        parent = next((pretrained[key] for key in needs if key in pretrained), None)
        result = task.result
        if parent is None or task.state != "done" or not isinstance(result, Probed):
            continue
        if result.pretraining_events is None:
            continue
        name = task.name.removesuffix(f"-{parent.name}")
        grid = f"{name}, {result.family}"
        yield HeldOut(grid, parent, result.pretraining_events, result.losses["loss"])
