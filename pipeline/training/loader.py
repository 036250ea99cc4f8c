"""The batches of a training, and the events that a downstream task and a validation read.

`pipeline.data.loading` decides which events make which batch, and their order, from the task alone.
So a resume at any world size continues where the last link stopped.
"""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.campaign import Training, Validation
from pipeline.data.errors import BadInput
from pipeline.data.loading import Loader, Reading, Selection
from pipeline.data.loading.selection import arrays_of
from pipeline.data.store import Store
from pipeline.downstream import DownstreamTask
from pipeline.families import Family, Reads
from pipeline.nn.batch import MicroBatch
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES
from pipeline.nn.loading import batch_of
from pipeline.training.steps.micro_batches import micro_batches


def training_batches(
    events: Selection, training: Training, seed: int, *, rank: int, ranks: int, seen: int
) -> Iterator[list[MicroBatch]]:
    """Yield one process's share of each batch without end, starting after `seen` events of all.

    `seed` decides the order of events, and what is drawn at random for them.
    The caller has opened `events`, which checks the sizes of all events; that is not repeated.
    """
    store = Store.open(events.path)
    reading = Reading(
        arrays=arrays_of(events.reads, store, events.split),
        lanes=training.lanes,
        lane_events=training.batch_events // training.lanes,
        events=events.events,
        subset=events.subset,
        seed=seed,
    )
    loader = Loader(store, events.split, reading, rank=rank, ranks=ranks)
    loader.seek(seen // training.batch_events)
    ranges, columns = micro_batches(training, rank, ranks), store.manifest.columns
    for share in loader:
        parts = [(share.slice(each.start, each.stop), each.weight) for each in ranges]
        yield [
            MicroBatch(batch_of(part, columns, events.reads, seed), weight)
            for part, weight in parts
        ]


def with_truth(model: Family, task: DownstreamTask, *, stored: bool = False) -> Reads:
    """Return what a downstream task reads: what its backbone reads, and the truth.

    With `stored` the features of the backbone take the place of its input: those of points, and
    those of events if the backbone has an event token.
    """
    reads = model.reads_downstream()
    if stored:
        reads = of_features(reads, model)
    return replace(
        reads,
        per_point=tuple(dict.fromkeys((*reads.per_point, *task.truth_per_point()))),
        per_event=tuple(dict.fromkeys((*reads.per_event, *task.truth_per_event()))),
    )


def of_features(reads: Reads, model: Family) -> Reads:
    """Return `reads` with the stored features of the backbone of `model` beside it."""
    events = (EVENT_FEATURES,) if model.has_event_token else ()
    return replace(
        reads, per_point=(*reads.per_point, FEATURES), per_event=(*reads.per_event, *events)
    )


def validation_events(events: Selection, validation: Validation | None) -> Selection | None:
    """Return the events to validate on, read like those of the training; None for no validation.

    Raises:
        BadInput: The split is missing, has too few events, or is the one that is trained on.
    """
    if validation is None:
        return None
    if validation.split == events.split:
        message = (
            f"{events.path}: the training is on split {validation.split!r}, and so is its "
            "validation. Name another split in [….validation]; fractions in the dataset make one."
        )
        raise BadInput(message)
    selection = replace(events, split=validation.split, events=validation.events, subset=0)
    selection.open()
    return selection


def takes_best(validation: Validation | None) -> bool:
    """Return whether the result has the weights of the best checkpoint."""
    return validation is not None and validation.weights == "best"
