"""The head, loss and prediction of the user's class."""

from typing import Any

from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.downstream.custom.plugin import class_of
from pipeline.downstream.custom.spec import CustomTask
from pipeline.families import Family
from pipeline.nn.batch import Batch


def build(task: CustomTask, model: Family) -> nn.Module:
    """Return the head that the class builds.

    Raises:
        BadInput: The class lacks a function, or returns no module.
    """
    made = class_of(task).build(task, model)
    if not isinstance(made, nn.Module):
        message = f"{task.code}: build returned {type(made).__name__}; expected a torch.nn.Module."
        raise BadInput(message)
    return made


def loss(output: Any, batch: Batch, task: CustomTask) -> dict[str, Tensor]:
    """Return the named losses.

    Raises:
        BadInput: They have no names.
    """
    losses = class_of(task).loss(output, batch, task)
    if not isinstance(losses, dict) or not losses:
        message = f"{task.code}: loss returned {type(losses).__name__}; expected a dict by name."
        raise BadInput(message)
    return losses


def predict(output: Any, batch: Batch, task: CustomTask) -> dict[str, Tensor]:
    """Return the predictions by name.

    Raises:
        BadInput: They have no names, or are of neither the points nor the events of the batch.
    """
    predicted = class_of(task).predict(output, batch, task)
    if not isinstance(predicted, dict) or not predicted:
        message = (
            f"{task.code}: predict returned {type(predicted).__name__}; expected a dict by name."
        )
        raise BadInput(message)
    points, events = len(batch.points), batch.lengths.events
    for name, values in predicted.items():
        if len(values) not in (points, events):
            message = (
                f"{task.code}: predict returned {len(values)} rows of {name!r}; expected one for "
                f"each of {points} points or {events} events."
            )
            raise BadInput(message)
    return predicted
