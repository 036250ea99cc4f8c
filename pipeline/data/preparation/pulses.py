"""Pulses of a neutrino telescope, prepared as PolarBERT does: a selection, an order, a scaling.

Axes: E events, P points (pulses) of all events.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Array, Events, Floats, Integers, Mask
from pipeline.data.experiment import Rejected
from pipeline.data.splits import keys

TIME_OFFSET_NS = 1e4
TIME_SCALE_NS = 3e4
CHARGE_SCALE = 3.0
POLARBERT = "PolarBERT's preprocessing of the Kaggle data: (t - 1e4) / 3e4, log10(q) / 3"


def select_pulses(events: Events, most: int) -> tuple[Events, Rejected]:
    """Return `events` with at most `most` pulses each, in their order; counts `shortened`.

    As PolarBERT selects: all pulses that are not auxiliary, then a sample of the auxiliary ones;
    where the first alone are too many, a sample of them. The sample follows from a hash of the
    event's `source_event_id` and the pulse's position in the event, so it depends neither on the
    event's file nor on the events read with it. Without `auxiliary`, all pulses are equal.
    """
    large = events.sizes > most
    if not large.any():
        return events, {"shortened": 0}
    keep = np.repeat(~large, events.sizes)
    rows = np.flatnonzero(~keep)
    sizes = events.sizes[large]
    keep[rows] = _first(_priority(events, large, rows), sizes, most)
    return events.thin(keep), {"shortened": len(sizes)}


def _priority(events: Events, large: Mask, rows: Integers) -> Array:
    """Return for the pulses at `rows`, all those of the `large` events, who goes first: the least.

    The highest bit says auxiliary; the rest is a hash.
    """
    sizes = events.sizes[large]
    name = events.per_event.get("source_event_id", events.event_id)[large]
    position = rows - np.repeat(events.offsets[:-1][large], sizes)
    priority = keys(np.repeat(keys(name), sizes) + position.astype(np.uint64)) >> np.uint64(1)
    auxiliary = events.per_point.get("auxiliary")
    if auxiliary is not None:
        priority |= auxiliary[rows].astype(np.uint64) << np.uint64(63)
    return priority


def _first(priority: Array, sizes: Integers, most: int) -> Mask:
    """Return which pulses (P) are among the `most` of least priority of their event."""
    event = np.repeat(np.arange(len(sizes)), sizes)
    # Events in the high bits, priorities in the rest: one sort instead of one a key.
    bits = np.uint64(len(sizes).bit_length())
    key = (event.astype(np.uint64) << (np.uint64(64) - bits)) | (priority >> bits)
    order = np.argsort(key, kind="stable")
    ends = np.cumsum(sizes)
    rank = np.arange(len(event)) - np.repeat(ends - sizes, sizes)
    keep = np.zeros(len(event), np.bool_)
    keep[order[rank < most]] = True
    return keep


def in_time_order(events: Events) -> Events:
    """Return `events` with the pulses of each sorted by time; equal times keep their order."""
    time, event = events.column("time"), events.event
    if not np.any((time[1:] < time[:-1]) & (event[1:] == event[:-1])):
        return events
    return events.permuted(np.lexsort((time, event)))


@dataclass(frozen=True)
class PolarbertInputs:
    """What PolarBERT reads of pulses: `features` (P, 3) float32 and `sensor` (P), 0 is padding."""

    features: Floats
    sensor: Array


def polarbert_inputs(
    time_ns: Floats, charge_pe: Floats, auxiliary: Mask, sensor_id: Array
) -> PolarbertInputs:
    """Return the model's inputs of pulses (P) of positive charge.

    Features are (t - 1e4) / 3e4, log10(q) / 3 and auxiliary - 0.5; sensors are numbered from 1.
    They are uint16: float16, in which PolarBERT first kept them, has no odd numbers beyond 2048.
    """
    features = np.column_stack(
        [
            (time_ns.astype(np.float64) - TIME_OFFSET_NS) / TIME_SCALE_NS,
            np.log10(charge_pe, dtype=np.float64) / CHARGE_SCALE,
            auxiliary - 0.5,
        ]
    )
    return PolarbertInputs(features.astype(np.float32), (sensor_id + 1).astype(np.uint16))
