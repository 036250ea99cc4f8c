"""Join rows of one table to rows of another within each event; a row is never duplicated."""

from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Array, Integers


@dataclass(frozen=True)
class Keys:
    """Identifiers `id` (N), each unique only within its `event` (N)."""

    event: Integers
    id: Array


def match(left: Keys, right: Keys) -> Integers:
    """Return for each row of `left` the first row of `right` of the same event and id, or -1."""
    if not len(right.id):
        return np.full(len(left.id), -1)
    # Unsigned 64-bit ids wrap one-to-one; mixed with signed ones numpy would make them floats.
    ids = np.concatenate([right.id.astype(np.int64), left.id.astype(np.int64)])
    distinct, rank = np.unique(ids, return_inverse=True)
    event = np.concatenate([right.event, left.event])
    key = event * len(distinct) + rank
    ours, theirs = key[len(right.id) :], key[: len(right.id)]
    order = np.argsort(theirs, kind="stable")
    index = np.minimum(np.searchsorted(theirs[order], ours), len(order) - 1)
    row = order[index]
    return np.where(theirs[row] == ours, row, -1)
