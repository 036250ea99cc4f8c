"""Which rows of a flat table are an event's: rows one after another with the same id.

Axes: E events.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Integers
from pipeline.data.readers.exact import exact
from pipeline.data.readers.parquet_rows import batches, values_of


@dataclass(frozen=True)
class Runs:
    """Events by id (E); event e owns the rows offsets[e] to offsets[e + 1]."""

    event_id: Integers
    offsets: Integers


def runs_of(path: Path, file: Any, name: str) -> Runs:
    """Return the events of the open parquet `file`, by its column `name`.

    Raises:
        BadInput: The rows of an event are not together.
    """
    event_id: list[Integers] = []
    firsts: list[Integers] = []
    row = 0
    for batch in batches(path, file, (name,), list(range(file.metadata.num_row_groups))):
        ids = exact(path, name, values_of(path, name, batch.column(0)), np.int64)
        starts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        if len(ids) and not (event_id and event_id[-1][-1] == ids[0]):
            starts = np.append(0, starts)
        if len(starts):
            event_id.append(ids[starts])
            firsts.append(row + starts)
        row += len(ids)
    if not event_id:
        return Runs(np.zeros(0, np.int64), np.zeros(1, np.int64))
    ids = np.concatenate(event_id)
    check_once(path, name, ids)
    return Runs(ids, np.append(np.concatenate(firsts), row))


def check_once(path: Path, name: str, event_id: Integers) -> None:
    """Check that each event of `path` comes once.

    Raises:
        BadInput: Some come more often; they are named.
    """
    ids, counts = np.unique(event_id, return_counts=True)
    if np.any(counts > 1):
        several = ", ".join(map(str, ids[counts > 1][:5]))
        message = (
            f"{path}: {name} {several} comes more than once; expected each event once, its rows "
            f"together. Sort the file by {name}, or make it again."
        )
        raise BadInput(message)
