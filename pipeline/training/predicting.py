"""Predict every event of a split, part by part, by one process or several.

A part is whole or absent, and holds the same events whatever the number of processes: what was
written before a kill is not predicted again.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import pyarrow as pa

from pipeline import claims, records
from pipeline.campaign import EvaluateTask, FinetuneTask
from pipeline.data import predictions
from pipeline.data.events import Events, Rows
from pipeline.data.loading import Selection
from pipeline.data.loading.selection import point_array
from pipeline.data.predictions.parts import Parts, is_whole, write
from pipeline.data.store import Store
from pipeline.data.store.content import DERIVED
from pipeline.data.store.places import Origins
from pipeline.downstream import DownstreamTask
from pipeline.downstream.truth import Truth
from pipeline.families import Reads
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES
from pipeline.records import TaskProgress
from pipeline.run import TaskFolder
from pipeline.training.engine import engine
from pipeline.training.engine.collectives import is_any
from pipeline.training.link.stopping import Stop
from pipeline.training.link.throttle import Throttle
from pipeline.training.predictor import Predictor

READ_EVENTS = 1024
READS_OF_PART = 4  # events of a part: what a kill may cost, against a file that is synced
PART_EVENTS = READS_OF_PART * READ_EVENTS
# Truth that a score uses beside what the head was trained on, where the store has it.
OPTIONAL_TRUTH = ("pt_gev",)


@dataclass(frozen=True)
class Predicting:
    """The predictions for all events of `source`, whose parts the processes share."""

    task: EvaluateTask
    folder: TaskFolder
    finetuned: FinetuneTask
    predictor: Predictor
    source: Selection
    store: Store
    world: engine.World
    stop: Stop

    @property
    def is_done(self) -> bool:
        """Whether the file is there, of these weights and events."""
        parts = self.parts
        return is_whole(self.folder.predictions, parts.made_from, parts.events)

    @property
    def parts(self) -> Parts:
        """The parts of the file."""
        count = self.source.count
        return Parts(self.folder.prediction_parts, self.made_from, count, PART_EVENTS)

    @property
    def made_from(self) -> str:
        """A digest of what decides the predictions, and the columns beside them."""
        finetuned = self.finetuned
        parts = [
            predictions.FORMAT,
            self.predictor.weights_sha256,
            self.store.manifest.content_sha256,
            self.task.split,
            finetuned.model.model_dump(mode="json"),
            finetuned.head.model_dump(mode="json"),
            finetuned.contents,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def done_together(self) -> bool:
        """Write the file, with all other processes; return False when one is to stop."""
        is_alone = self.world.size == 1
        if not is_alone:
            engine.join(self.world)
        stopped = not self._own_parts()
        if stopped if is_alone else is_any(stopped, self.world.device):
            return False
        if self.world.is_first:
            claims.confirm()
            self.parts.merge(self.folder.predictions)
        return True

    def _own_parts(self) -> bool:
        """Write this process's share of the parts; return False when it is to stop."""
        parts = self.parts
        runs = parts.missing(self.world.rank, self.world.size)
        todo = sum(parts.rows(number) for run in runs for number in run)
        shown = Progress(self.folder, parts.events // self.world.size, todo, self.world.is_first)
        for run in runs:
            stream = self.source.stream(READ_EVENTS, after=run.start * READS_OF_PART)
            with contextlib.closing(stream):
                for number in run:
                    events = islice(stream, READS_OF_PART)
                    try:
                        write(parts.path(number), self._tables(events, number, shown))
                    except _StoppedError:
                        return False
        return True

    def _tables(
        self, stream: Iterator[Events], number: int, shown: "Progress"
    ) -> Iterator[pa.Table]:
        """Yield the tables of the events of part `number`.

        Raises:
            _StoppedError: The process is to stop.
        """
        start, described = number * PART_EVENTS, self.predictor.described(self.made_from)
        origins, columns = Origins(self.store, self.task.split), self.store.manifest.columns
        for events in stream:
            if self.stop.requested:
                raise _StoppedError
            predicted = self.predictor.predict(events, columns, self.source.reads)
            files, entry = origins.of(start, events)
            truth = known_truth(events, self.finetuned.head)
            yield predictions.Table(described, truth, files, entry, predicted).arrow()
            start += len(events)
            shown.add(len(events))


def known_truth(events: Events, head: DownstreamTask) -> Events:
    """Return `events` with the truth of `head`, as far as they have it, and no other arrays."""
    stored = events.per_point
    of_points = dict.fromkeys((*head.truth_per_point(), *OPTIONAL_TRUTH))
    there = (name for name in of_points if stored.keys() >= {*DERIVED.get(name, (name,))})
    of_events = dict.fromkeys((*head.truth_per_event(), *OPTIONAL_TRUTH))
    return replace(
        events,
        per_point={name: point_array(stored, name) for name in there},
        per_event={n: events.per_event[n] for n in of_events if n in events.per_event},
        verified=True,
    )


class _StoppedError(Exception):
    """The process is to stop in the middle of a part."""


class Progress:
    """How far the first process is with its share, written about once a second."""

    def __init__(self, folder: TaskFolder, total: int, todo: int, shows: bool) -> None:
        self.folder, self.total, self.done, self.shows = folder, total, total - todo, shows
        self._is_due = Throttle(1.0)

    def add(self, events: int) -> None:
        """Count `events` more."""
        self.done += events
        if self.shows and self._is_due():
            progress = TaskProgress(done=max(0, self.done), total=self.total, unit="events")
            records.write(self.folder.progress, progress, durable=False)


def truth_of(events: Events, reads: Reads, tables: Rows) -> Truth:
    """Return the arrays of `events` that the task reads, without the features of a backbone."""
    stored, names = events.per_point, [n for n in reads.per_point if n != FEATURES]
    return replace(
        events,
        per_point={name: point_array(stored, name) for name in names},
        per_event={n: events.per_event[n] for n in reads.per_event if n != EVENT_FEATURES},
        tables={name: tables[name] for name in reads.tables if name in tables},
        verified=True,
    )
