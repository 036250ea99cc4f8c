"""Which split an event falls into, and which events make a subset: by a hash of its id alone.

So it is the same on any machine, whatever was staged beside it, and splits are disjoint.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.data.events import Array, Integers, Mask

Keys = npt.NDArray[np.uint64]


def keys(event_id: Array, seed: int = 0) -> Keys:
    """Return 64 bits (E) that look random and depend on `event_id` (E) and `seed` only.

    SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        start = _mixed(np.array([seed], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        return _mixed(_mixed(event_id.astype(np.uint64) + start) + start)


def _mixed(z: Keys) -> Keys:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def are_in(split: str, event_id: Integers, fractions: Mapping[str, float]) -> Mask:
    """Return which events (E) fall into `split`, one of the names of `fractions`."""
    inside: Mask = split_of(event_id, fractions) == list(fractions).index(split)
    return inside


def split_of(event_id: Integers, fractions: Mapping[str, float]) -> Integers:
    """Return for each event (E) the index of its split among `fractions`, which sum to 1."""
    share = keys(event_id) / np.float64(2**64)
    limits = np.cumsum(list(fractions.values()))[:-1]
    return np.searchsorted(limits, share, side="right")
