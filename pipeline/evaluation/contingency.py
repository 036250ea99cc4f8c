"""Which particles share which points with which tracks, for many events at once.

Shapes: P points, E events, T particles, R tracks, K pairs of a particle and a track that share
points; particles and tracks of different events are different, whatever their ids.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Classes:
    """The particles, or the tracks: event, id and number of points of each; id 0 is no object."""

    event: Ints
    id: Ints
    points: Ints


@dataclass(frozen=True)
class Contingency:
    """The contingency table in sparse form; pairs without shared points have no entry.

    Attributes:
        events: The number of events E.
        particles: The T true classes; the points of id 0 of an event are one of them.
        tracks: The R found classes, likewise.
        particle: (K,) the particle of each pair, an index of `particles`.
        track: (K,) the track of each pair, an index of `tracks`.
        shared: (K,) the number of points they share.
        particle_of_point: (P,) the particle of each point.
        track_of_point: (P,) the track of each point.
    """

    events: int
    particles: Classes
    tracks: Classes
    particle: Ints
    track: Ints
    shared: Ints
    particle_of_point: Ints
    track_of_point: Ints


def contingency(event: Ints, true: Ints, predicted: Ints, *, events: int) -> Contingency:
    """Return the table of (P,) points, each with its event in 0..events−1 and its two ids."""
    particles, particle = _classes(event, true)
    tracks, track = _classes(event, predicted)
    width = max(1, len(tracks.id))
    pairs, shared = np.unique(particle * width + track, return_counts=True)
    of_pairs = (pairs // width, pairs % width, shared)
    return Contingency(events, particles, tracks, *of_pairs, particle, track)


def _classes(event: Ints, ids: Ints) -> tuple[Classes, Ints]:
    """Return the distinct (event, id) and, for each of the (P,) points, which one it is in."""
    order = np.lexsort((ids, event))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(event[order]) != 0) | (np.diff(ids[order]) != 0)
    index = np.empty(len(order), np.int64)
    index[order] = np.cumsum(is_first) - 1
    first = order[is_first]
    points = np.bincount(index, minlength=len(first))
    return Classes(event[first], ids[first], points), index


@dataclass(frozen=True)
class Squares:
    """Points, and sums of the squares of particles, tracks and what they share: (E,) each.

    All are whole numbers, so that sums over events have no rounding below 2^53.
    """

    points: Floats
    particles: Floats
    tracks: Floats
    shared: Floats

    def rand_index(self) -> Floats:
        """Return the (E,) adjusted Rand index of each event (Hubert, Arabie, J. Classif. 2, 1985).

        1 means the same grouping, 0 what chance gives. Two equal groupings give 1 even where the
        formula is 0/0, as scikit-learn has it; so does an event without points.
        """
        return _adjusted(self.points, self.particles, self.tracks, self.shared)

    def pooled(self) -> "Squares":
        """Return those of all points of all events as one set, (1,)."""
        return Squares(*(each.sum(keepdims=True) for each in vars(self).values()))


def squares(table: Contingency) -> Squares:
    """Return the sums of squares of each event."""
    of_shared = _sum(table.events, table.particles.event[table.particle], table.shared**2)
    return Squares(
        points=_sum(table.events, table.particles.event, table.particles.points),
        particles=_sum(table.events, table.particles.event, table.particles.points**2),
        tracks=_sum(table.events, table.tracks.event, table.tracks.points**2),
        shared=of_shared,
    )


def adjusted_rand_index(table: Contingency) -> Floats:
    """Return the (E,) adjusted Rand index of each event (`Squares.rand_index`)."""
    return squares(table).rand_index()


def pooled_rand_index(table: Contingency) -> float:
    """Return the adjusted Rand index of all points of all events as one set.

    Clusters of different events stay apart, so this is another number than the mean over events:
    keeping events apart is counted as success, and large events weigh more.
    """
    return float(squares(table).pooled().rand_index()[0])


def _adjusted(n: Floats, true: Floats, found: Floats, both: Floats) -> Floats:
    """Return the index from the points and the sums of squares, by way of the ordered pairs.

    `split` are pairs together in truth and apart among the tracks, `merged` the other way round.
    """
    together, split, merged = both - n, true - both, found - both
    apart = n**2 - true - found + both
    top = 2 * (together * apart - split * merged)
    bottom = (together + split) * (split + apart) + (together + merged) * (merged + apart)
    equal = (split == 0) & (merged == 0)
    return np.where(equal, 1.0, top / np.where(equal, 1.0, bottom))


def _sum(events: int, event: Ints, values: Ints) -> Floats:
    """Return the (E,) sums of `values` per event."""
    return np.bincount(event, weights=values, minlength=events).astype(float)
