"""The cells of a pretraining grid: the data sizes of each model, and how each is trained."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import Field, PositiveInt, ValidationError

from pipeline.campaign.branching import minutes
from pipeline.campaign.training import Training
from pipeline.catalog import Declaration
from pipeline.families import Family

D = TypeVar("D", bound=Declaration)
M = TypeVar("M", bound=Family)


class ModelChanges(Declaration):
    """The settings of one model: dataset, data sizes, and keys of `[pretrain.training]`."""

    dataset: str = ""
    events: tuple[PositiveInt, ...] = ()
    training: dict[str, Any] = Field(default_factory=dict)


def changed(declared: D, changes: Mapping[str, Any]) -> D:
    """Return the declaration with `changes` of its keys.

    Raises:
        ValueError: There is no such key, or its value is refused; the message has one line.
    """
    try:
        return type(declared)(**{**declared.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        message = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise ValueError(message) from error


def adapted(model: M, changes: Mapping[str, Any]) -> M:
    """Return `model` with `changes` of keys that decide no shape of its weights.

    Raises:
        ValueError: A key decides a shape, or its value is refused.
    """
    other = changed(model, changes)
    before, after = model.architecture, other.architecture
    for name in changes:
        if before.get(name) != after.get(name):
            message = f"{name}: {after[name]}, where the pretrained weights are of {before[name]}"
            raise ValueError(message)
    return other


def in_proportion(training: Training, events: int, largest: int) -> Training:
    """Return `training` on `largest` events as one on `events` events, with equally many epochs.

    Warm-up, decay and walltime shrink in proportion; the training has at least one batch.
    """
    if events == largest:
        return training
    share = events / largest
    seen = max(training.batch_events, round(training.events_seen * share))
    return changed(
        training,
        {
            "events_seen": seen,
            "warmup_events": int(training.warmup_events * share),
            "decay_events": int(training.decay_events * share),
            "walltime_minutes": minutes(training, seen),
        },
    )
