"""Score a table of predictions part by part: of each part only what the score needs is kept.

A `score.py` that has `reduced` and `score_reduced` says what that is (`downstream.task.Reducing`);
of one that has not, all predictions and their truth are kept.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import predictions
from pipeline.data.events import Array, Events, concatenate
from pipeline.data.loading import Selection
from pipeline.data.store.tables import read_tables
from pipeline.downstream import DownstreamTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.result import EvaluationResult
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES
from pipeline.training.predicting import READ_EVENTS, truth_of

SHOWN_EVENTS = 8


@dataclass(frozen=True)
class Scored:
    """The scores, the first events with all that is known of them, and digests of the arrays."""

    result: EvaluationResult
    shown: Truth
    predicted: Rows
    events: int
    points: int
    sha256: dict[str, str]


def scored(path: Path, source: Selection, head: DownstreamTask, seed: int) -> Scored:
    """Return the scores of the predictions in `path` for all events of `source`.

    Raises:
        BadInput: The file is damaged, or has fewer rows.
    """
    shown: tuple[Truth, Rows] | None = None
    digests, kept = _Digests(), _Kept(head)
    events = points = 0
    for truth, predicted in _parts(path, source):
        if shown is None:
            first = truth.slice(0, min(SHOWN_EVENTS, len(truth)))
            shown = first, _first(predicted, first, len(truth.points))
        kept.add(predicted, truth)
        digests.add(predicted)
        events, points = events + len(truth), points + len(truth.points)
    assert shown is not None, "a split has events"
    return Scored(kept.result(seed), *shown, events, points, digests.hexadecimal)


def _parts(path: Path, source: Selection) -> Iterator[tuple[Truth, dict[str, Array]]]:
    """Yield the truth of some events and what was predicted of them, in the order of the store.

    What only the model reads of them is not read.
    """
    reads = replace(
        source.reads,
        per_point=tuple(name for name in source.reads.per_point if name != FEATURES),
        per_event=tuple(name for name in source.reads.per_event if name != EVENT_FEATURES),
        neighbours=0,
        physical=False,
    )
    tables = read_tables(source.path) if reads.tables else {}
    rows = predictions.Reader(path)
    for events in replace(source, reads=reads).stream(READ_EVENTS):
        yield truth_of(events, reads, tables), rows.following(len(events))


def _first(predicted: Rows, shown: Truth, points: int) -> Rows:
    """Return what was predicted of the events `shown`, the first of some with so many points."""
    stop = int(shown.offsets[-1])
    return {
        name: values[:stop] if len(values) == points else values[: len(shown)]
        for name, values in predicted.items()
    }


@dataclass
class _Kept:
    """What is kept of each part until all are there."""

    head: DownstreamTask
    rows: list[dict[str, Array]] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)

    @property
    def scoring(self) -> Any:
        """The task's `score.py`."""
        return self.head.scoring()

    def add(self, predicted: dict[str, Array], truth: Truth) -> None:
        """Keep what the score needs of a part."""
        if hasattr(self.scoring, "reduced"):
            self.rows.append(dict(self.scoring.reduced(predicted, truth, self.head)))
        else:
            self.rows.append(predicted)
            self.truths.append(_with_columns(truth, self.head.SCORED_COLUMNS))

    def result(self, seed: int) -> EvaluationResult:
        """Return the scores of all parts, of which nothing is kept any more."""
        arrays = {name: _joined([each.pop(name) for each in self.rows]) for name in [*self.rows[0]]}
        result: EvaluationResult
        if hasattr(self.scoring, "reduced"):
            result = self.scoring.score_reduced(arrays, self.head, seed)
        else:
            truth = concatenate(self.truths)
            self.truths.clear()
            result = self.scoring.score(arrays, truth, self.head, seed)
        return result


def _joined(parts: list[Array]) -> Array:
    """Return the `parts` one behind the other; each leaves memory as soon as it is copied."""
    rows = sum(map(len, parts))
    kind = np.result_type(*{each.dtype for each in parts})
    whole = np.empty((rows, *parts[0].shape[1:]), kind)
    parts.reverse()
    start = 0
    while parts:
        part = parts.pop()
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def _with_columns(events: Events, names: frozenset[str] | None) -> Events:
    """Return `events` with those columns of their points that are in `names`; with all for None."""
    if names is None:
        return events
    chosen = [number for number, name in enumerate(events.columns) if name in names]
    columns = tuple(events.columns[number] for number in chosen)
    return replace(events, points=events.points[:, chosen], columns=columns, verified=True)


class _Digests:
    """The SHA-256 of the values of each array (`data.checksums.array_hash`), part by part."""

    def __init__(self) -> None:
        self._of: dict[str, Any] = {}

    def add(self, arrays: Rows) -> None:
        """Take the following rows of each array."""
        for name, values in arrays.items():
            known = self._of.setdefault(name, hashlib.sha256())
            known.update(np.ascontiguousarray(values).tobytes())

    @property
    def hexadecimal(self) -> dict[str, str]:
        """The digests by the names of the arrays."""
        return {name: self._of[name].hexdigest() for name in sorted(self._of)}
