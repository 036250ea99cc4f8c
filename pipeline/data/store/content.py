"""What the truth in a shard amounts to: its tracks, and the labels that occur.

Axes: P points, E events.
"""

from collections.abc import Mapping

import numpy as np

from pipeline.data.events import Array

TRACK_ID, NOISE, LABEL = "track_id", "noise", "label"
TRACK = "track"
DERIVED = {TRACK: (TRACK_ID, NOISE)}  # arrays that are not stored, and what they are made of
MOST_LABELS = 1024  # more are values, not classes


def track_count(arrays: Mapping[str, Array]) -> int | None:
    """Return the true tracks of all events: ids in an event that are not 0, none of noise.

    None where the points have no `track_id` (P).
    """
    if TRACK_ID not in arrays:
        return None
    ids, sizes = arrays[TRACK_ID], np.diff(arrays["offsets"])
    kept = ids != 0
    if NOISE in arrays:
        kept &= ~arrays[NOISE].astype(np.bool_)
    _, code = np.unique(ids[kept], return_inverse=True)
    event = np.repeat(np.arange(len(sizes)), sizes)[kept]
    return len(np.unique(event * (len(code) + 1) + code))


def labels_in(arrays: Mapping[str, Array]) -> tuple[int, ...] | None:
    """Return the labels of events that occur, in order; None where events have no `label` (E)."""
    labels = arrays.get(LABEL)
    if labels is None or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return None
    found = np.unique(labels)
    return tuple(found.tolist()) if len(found) <= MOST_LABELS else None
