"""Whether all that goes into a store is a number there, not its points alone.

Axes: E events, P points.
"""

from collections.abc import Collection

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers, Mask

LARGEST = float(np.finfo(np.float32).max)


def check_finite(events: Events, may_be_missing: Collection[str] = ()) -> None:
    """Check every real number of `events`: finite, and within float32, in which batches have it.

    NaN may stand in those of `per_point` and `per_event` that `may_be_missing` names: not known.

    Raises:
        BadInput: A number is not; the message has the array, the number and the event.
    """
    owner = events.event
    arrays = {"points": (events.points, owner)}
    arrays |= {name: (values, owner) for name, values in events.per_point.items()}
    every = np.arange(len(events))
    arrays |= {name: (values, every) for name, values in events.per_event.items()}
    for name, (values, event) in arrays.items():
        if values.dtype.kind == "f":
            _check(events, name, values, event, missing=name in may_be_missing)


def _check(events: Events, name: str, values: Array, event: Integers, *, missing: bool) -> None:
    fault = _faults(values, missing=missing)
    if not fault.any():
        return
    rows = np.flatnonzero(fault.reshape(len(values), -1).any(axis=1))
    wrong = values[fault]
    others = len(np.unique(event[rows])) - 1
    more = f" and {others} more of those read with it" if others else ""
    advice = (
        "" if missing else f" Where {name} may be unknown, the experiment says so: may_be_missing."
    )
    message = (
        f"{events.source}: {name} holds {wrong.flat[0]} in event {events.event_id[event[rows[0]]]}"
        f"{more}; expected finite numbers within float32. Make the file again, or leave "
        f"it out of the dataset.{advice}"
    )
    raise BadInput(message)


def _faults(values: Array, *, missing: bool) -> Mask:
    """Return which of `values` are no numbers of float32; NaN is fine where `missing`."""
    with np.errstate(invalid="ignore"):
        good = np.abs(values) <= LARGEST
    bad: Mask = ~(good | np.isnan(values)) if missing else ~good
    return bad
