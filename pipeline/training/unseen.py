"""Events that a model has not seen: what it was trained on is recorded, and compared with tests."""

import tomllib
from pathlib import Path

from pipeline.campaign import FinetuneTask, PretrainTask
from pipeline.data.errors import BadInput
from pipeline.data.overlap import ADVICE
from pipeline.data.store import Store
from pipeline.data.training_data import (
    TrainingData,
    add,
    gathered,
    of_split,
    of_store,
    overlaps,
)
from pipeline.records import Overlap
from pipeline.run import TaskFolder


def allowed(folder: TaskFolder) -> bool:
    """Return whether the campaign of a task allows tests on events that were trained on.

    It is looked up in the run folder, so that it can be allowed when it has been refused.
    """
    try:
        return bool(tomllib.loads(folder.campaign.read_text()).get("allow_overlap", False))
    except FileNotFoundError:
        return False


def begin(
    task: PretrainTask | FinetuneTask, folder: TaskFolder, weights: Path | None, *, records: bool
) -> None:
    """Check that a training is not validated on what it sees; the first process `records` that.

    `weights` is the folder that it starts from, if any.

    Raises:
        BadInput: It is, and the campaign does not allow it; or an older version made the weights.
    """
    store = Store.open(task.store)
    data = of_split(store, task.split, task.key, () if weights is None else (weights,))
    before = gathered(*data.parents)
    split = task.split if task.validation is None else task.validation.split
    if split != task.split and split in store.splits:
        whole = TrainingData(events=(*data.events, *before.events))
        _refuse(folder, overlaps(whole, store, split))
    if records:
        add(folder.path, data)


def tested(
    folder: TaskFolder, weights: Path, store: Store, split: str
) -> tuple[tuple[Overlap, ...], tuple[str, ...]]:
    """Return the overlap of a test with what `weights` saw, and weights of which nothing is known.

    Raises:
        BadInput: There is an overlap, and the campaign does not allow it; or an older version made
            the weights.
    """
    data = gathered(weights, *of_store(store.path))
    found = overlaps(data, store, split)
    _refuse(folder, found)
    return found, data.unknown


def _refuse(folder: TaskFolder, found: tuple[Overlap, ...]) -> None:
    """Check that there is no overlap, or that it is allowed.

    Raises:
        BadInput: There is one.
    """
    if found and not allowed(folder):
        sentences = ". ".join(each.sentence for each in found)
        message = f"{folder.path}: {sentences}. {ADVICE}"
        raise BadInput(message)
