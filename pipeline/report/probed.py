"""The held-out losses of pretrained models, with what each was trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.report.tasks import Table, TaskView


@dataclass(frozen=True)
class Probed:
    """One finished probe that has a loss.

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


def probed(tasks: Sequence[TaskView]) -> Iterator[Probed]:
    """Yield the finished probes among `tasks`."""
    pretrained = {task.key: task for task in tasks if task.stage == "pretrain"}
    for task in tasks:
        needs = task.declaration.get("needs", ())  # missing where only a part of it is on disk
        parent = next((pretrained[key] for key in needs if key in pretrained), None)
        if task.stage != "probe" or task.state != "done" or parent is None:
            continue
        if {"loss", "pretraining_events"} <= task.result.keys():
            name = task.name.removesuffix(f"-{parent.name}")
            family = parent.declaration["model"]["family"]
            events, loss = task.result["pretraining_events"], task.result["loss"]
            yield Probed(f"{name}, {family}", parent, events, loss)
