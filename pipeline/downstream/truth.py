"""What is true of the events that were evaluated, as a score is given it.

Axes: P points · E events of a split · F columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.events import offsets_of

Rows = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Truth:
    """What is known of the E events that were told: arrays by name, and where events are cut.

    `tables` are the constants of the detector that the backbone reads.
    """

    per_point: Rows
    per_event: Rows
    tables: Rows
    offsets: NDArray[np.int64]
    event_id: NDArray[np.int64]
    points: NDArray[np.float32]
    columns: Sequence[str]

    def column(self, name: str) -> NDArray[np.float32]:
        """Return a column of the points (P), in physical units."""
        return self.points[:, list(self.columns).index(name)]


def joined(several: Sequence[Truth]) -> Truth:
    """Return the events of several truths of one store, one after another."""
    first = several[0]

    def together(rows: Sequence[Rows]) -> Rows:
        return {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}

    return Truth(
        per_point=together([each.per_point for each in several]),
        per_event=together([each.per_event for each in several]),
        tables=first.tables,
        offsets=offsets_of(np.concatenate([np.diff(each.offsets) for each in several])),
        event_id=np.concatenate([each.event_id for each in several]),
        points=np.concatenate([each.points for each in several]),
        columns=first.columns,
    )
