"""What weights were trained on: a record beside them, which goes where they go.

`training-data.json` lies in the folder of a training, of exported weights, and in a store of tokens
or features, which weights have made.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline import records
from pipeline.data.errors import BadInput
from pipeline.data.overlap import EventSet, event_set, overlap
from pipeline.data.store.opened import Store
from pipeline.records import Overlap, Record
from pipeline.run import TaskFolder

RECORD = "training-data.json"


class TrainingData(Record):
    """The events that weights were trained on.

    `parents` are the folders whose weights they started from, or whose tokens or features they
    read, relative to the folder of the record where they are of its run. `unknown` are weights of
    which nobody has said what they were trained on.
    """

    events: tuple[EventSet, ...] = ()
    parents: tuple[Path, ...] = ()
    unknown: tuple[str, ...] = ()


def write(folder: Path, data: TrainingData) -> None:
    """Write `data` into the folder of the weights; parents in the same run relative to it."""
    parents = tuple(_from(folder, each) for each in data.parents)
    records.write(folder / RECORD, data.model_copy(update={"parents": parents}))


def _from(folder: Path, parent: Path) -> Path:
    """Return `parent` as the record in `folder` has it: a run may be moved, others stay."""
    run = folder.absolute().parent.parent
    here = parent.is_absolute() and parent.is_relative_to(run)
    return Path(os.path.relpath(parent, folder.absolute())) if here else parent


def add(folder: Path, data: TrainingData) -> None:
    """Write `data` into the folder of the weights, beside what they have seen before.

    A training that is continued on a store that was staged anew has seen both.
    """
    known = records.read(folder / RECORD, TrainingData) or TrainingData()
    events = (*known.events, *(each for each in data.events if each not in known.events))
    parents = tuple(
        dict.fromkeys((*known.parents, *(_from(folder, each) for each in data.parents)))
    )
    unknown = tuple(dict.fromkeys((*known.unknown, *data.unknown)))
    write(folder, TrainingData(events=events, parents=parents, unknown=unknown))


def of_store(store: Path) -> tuple[Path, ...]:
    """Return the folder `store` if its tokens or features come from weights, as parents have it."""
    return (store,) if (store / RECORD).is_file() else ()


def of_split(store: Store, split: str, task: str, parents: Sequence[Path] = ()) -> TrainingData:
    """Return the record of the training `task` on `split` of `store`, from weights in `parents`."""
    events = event_set(store.manifest, store.path, split, task)
    return TrainingData(events=(events,), parents=(*parents, *of_store(store.path)))


def gathered(*folders: Path) -> TrainingData:
    """Return all events that the weights in `folders` have seen, those of their parents too.

    Raises:
        BadInput: A training has no record: an older version made it.
    """
    events: list[EventSet] = []
    unknown: dict[str, None] = {}
    waiting, seen = list(folders), set[Path]()
    while waiting:
        folder = waiting.pop(0)
        if folder in seen:
            continue
        seen.add(folder)
        data = records.read(folder / RECORD, TrainingData)
        if data is None and TaskFolder(folder).declaration.is_file():
            message = (
                f"{folder}: no {RECORD}: an older version trained it, whose splits depended on the "
                f"list of files, so it may have seen any test event. Train it again: rm -r {folder}"
            )
            raise BadInput(message)
        data = data or TrainingData(unknown=(str(folder),))
        events += [each for each in data.events if each not in events]
        unknown |= dict.fromkeys(data.unknown)
        waiting += [Path(os.path.normpath(folder / each)) for each in data.parents]
    return TrainingData(events=tuple(events), unknown=tuple(unknown))


def overlaps(data: TrainingData, store: Store, split: str) -> tuple[Overlap, ...]:
    """Return the overlaps of `split` of `store` with each set of events in `data`."""
    found = (overlap(each, store, split) for each in data.events)
    return tuple(each for each in found if each is not None)
