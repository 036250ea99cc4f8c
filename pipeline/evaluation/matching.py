"""Which tracks count as found, by the three rules the field uses."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Classes, Contingency, Floats, Ints

Style = Literal["ATLAS", "one_way", "two_way"]


@dataclass(frozen=True)
class Rule:
    """When a track matches a particle.

    Of a pair of a track and a particle, let purity be the fraction of the track's points that are
    the particle's, and efficiency the fraction of the particle's points that are in the track.
    `ATLAS` asks purity > `fraction`, for both sides. `one_way` asks purity > `fraction` for a track
    to be matched, and efficiency > `fraction` for a particle to be reconstructed. `two_way` asks
    both for both: the double majority of FM4NPP (arXiv 2508.14087). The names are Exa.TrkX's
    (arXiv 2103.06995). Shorter particles and shorter tracks are left out of the counts.
    """

    style: Style = "two_way"
    fraction: float = 0.5
    min_particle_points: int = 3
    min_track_points: int = 3

    def __post_init__(self) -> None:
        if not 0.5 <= self.fraction < 1:
            message = (
                f"fraction {self.fraction} is not in [0.5, 1): below one half two particles could "
                "both own one track. Give 0.5 for a majority."
            )
            raise ValueError(message)


@dataclass(frozen=True)
class Matches:
    """What was matched in each event; every array is (E,).

    Attributes:
        particles: Particles long enough to be found.
        reconstructed: Those of them that some track reconstructs.
        duplicates: Tracks beyond the first that reconstruct the same particle.
        tracks: Tracks long enough to count.
        matched: Those of them that match a particle.
        particle_shares: Sum over particles of the largest fraction that one track holds.
        track_shares: Sum over tracks of the largest fraction that belongs to one particle.
    """

    particles: Floats
    reconstructed: Floats
    duplicates: Floats
    tracks: Floats
    matched: Floats
    particle_shares: Floats
    track_shares: Floats


def match(table: Contingency, rule: Rule) -> Matches:
    """Return what `rule` matches; id 0 (noise, unassigned) is neither a particle nor a track."""
    real = (table.particles.id[table.particle] != 0) & (table.tracks.id[table.track] != 0)
    particle, track, shared = table.particle[real], table.track[real], table.shared[real]
    purity = shared / table.tracks.points[track]
    efficiency = shared / table.particles.points[particle]
    matches, reconstructs = _pairs(rule, purity, efficiency)

    long_particle = _is_long(table.particles, rule.min_particle_points)
    long_track = _is_long(table.tracks, rule.min_track_points)
    found = particle[reconstructs & long_particle[particle] & long_track[track]]
    distinct = np.unique(found)

    def count(classes: Classes, index: Ints | NDArray[np.bool_]) -> Floats:
        return np.bincount(classes.event[index], minlength=table.events).astype(float)

    reconstructed = count(table.particles, distinct)
    return Matches(
        particles=count(table.particles, long_particle),
        reconstructed=reconstructed,
        duplicates=count(table.particles, found) - reconstructed,
        tracks=count(table.tracks, long_track),
        matched=count(table.tracks, track[matches & long_track[track]]),
        particle_shares=_shares(table, table.particles, particle, efficiency, long_particle),
        track_shares=_shares(table, table.tracks, track, purity, long_track),
    )


def _pairs(
    rule: Rule, purity: Floats, efficiency: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pairs make their track matched, and which their particle reconstructed."""
    pure, complete = purity > rule.fraction, efficiency > rule.fraction
    if rule.style == "ATLAS":
        return pure, pure
    if rule.style == "one_way":
        return pure, complete
    return pure & complete, pure & complete


def _is_long(classes: Classes, points: int) -> NDArray[np.bool_]:
    """Return which classes are objects of at least `points` points."""
    is_long: NDArray[np.bool_] = (classes.id != 0) & (classes.points >= points)
    return is_long


def _shares(
    table: Contingency, classes: Classes, index: Ints, share: Floats, chosen: NDArray[np.bool_]
) -> Floats:
    """Return the (E,) sums over the `chosen` classes of the largest share of each."""
    largest = np.zeros(len(classes.id))
    np.maximum.at(largest, index, share)
    sums = np.bincount(classes.event[chosen], weights=largest[chosen], minlength=table.events)
    return sums.astype(float)
