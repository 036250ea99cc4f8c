"""Which tracks count as found, by the three rules the field uses."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Classes, Contingency, Floats, Ints

Style = Literal["ATLAS", "one_way", "two_way"]
Flags = NDArray[np.bool_]
STYLES: tuple[Style, ...] = ("ATLAS", "one_way", "two_way")


@dataclass(frozen=True)
class Rule:
    """When a track matches a particle.

    Of a pair of a track and a particle, let purity be the fraction of the track's points that are
    the particle's, and efficiency the fraction of the particle's points that are in the track.
    `ATLAS` asks purity > `fraction`, for both sides. `one_way` asks purity > `fraction` for a track
    to be matched, and efficiency > `fraction` for a particle to be reconstructed. `two_way` asks
    both for both: the double majority of FM4NPP (arXiv 2508.14087). The names are Exa.TrkX's
    (arXiv 2103.06995). Shorter particles and shorter tracks are left out of the counts, and pairs
    that share fewer points match in no style.
    """

    style: Style = "two_way"
    fraction: float = 0.5
    min_particle_points: int = 3
    min_track_points: int = 3
    min_shared_points: int = 1

    def __post_init__(self) -> None:
        if not 0.5 <= self.fraction < 1:
            message = (
                f"fraction {self.fraction} is not in [0.5, 1): below one half two particles could "
                "both are matched to one track. Give 0.5 for a majority."
            )
            raise ValueError(message)


# What train/downstream/calculate_tracking_eff_purity.py of github.com/FM4NPP/PP_collision requires;
# it counts the noise of an event as one particle besides, which is none here
# (`pipeline.evaluation.published_tracking` counts it too).
FM4NPP = Rule(min_track_points=4, min_shared_points=4)


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


@dataclass(frozen=True)
class Found:
    """Which particles (T) and tracks (R) of a table count, and which of them are found.

    Attributes:
        is_particle: Whether the particle is long enough to be found.
        tracks: How many tracks reconstruct it, 0 unless it is long enough.
        is_track: Whether the track is long enough to count.
        is_matched: Whether it is, and matches a particle.
    """

    is_particle: Flags
    tracks: Ints
    is_track: Flags
    is_matched: Flags


@dataclass(frozen=True)
class _Pairs:
    """The pairs (K) of a particle and a track; id 0 (noise, unassigned) is neither."""

    particle: Ints
    track: Ints
    shared: Ints
    purity: Floats
    efficiency: Floats


def match(table: Contingency, rule: Rule) -> Matches:
    """Return what `rule` matches; id 0 (noise, unassigned) is neither a particle nor a track."""
    pairs, found = _pairs(table), find(table, rule)

    def count(classes: Classes, chosen: Flags) -> Floats:
        return np.bincount(classes.event[chosen], minlength=table.events).astype(float)

    reconstructed = count(table.particles, found.tracks > 0)
    tracks = np.bincount(table.particles.event, found.tracks, minlength=table.events)
    of_particles = (pairs.particle, pairs.efficiency, found.is_particle)
    of_tracks = (pairs.track, pairs.purity, found.is_track)
    return Matches(
        particles=count(table.particles, found.is_particle),
        reconstructed=reconstructed,
        duplicates=tracks - reconstructed,
        tracks=count(table.tracks, found.is_track),
        matched=count(table.tracks, found.is_matched),
        particle_shares=_shares(table, table.particles, *of_particles),
        track_shares=_shares(table, table.tracks, *of_tracks),
    )


def find(table: Contingency, rule: Rule) -> Found:
    """Return which particles and tracks `rule` counts, and which it matches."""
    pairs = _pairs(table)
    matches, reconstructs = _matching(rule, pairs)
    is_particle = _is_long(table.particles, rule.min_particle_points)
    is_track = _is_long(table.tracks, rule.min_track_points)
    reconstructs &= is_particle[pairs.particle] & is_track[pairs.track]
    matched = np.bincount(pairs.track[matches], minlength=len(is_track)) > 0
    return Found(
        is_particle=is_particle,
        tracks=np.bincount(pairs.particle[reconstructs], minlength=len(is_particle)),
        is_track=is_track,
        is_matched=matched & is_track,
    )


def _pairs(table: Contingency) -> _Pairs:
    real = (table.particles.id[table.particle] != 0) & (table.tracks.id[table.track] != 0)
    particle, track, shared = table.particle[real], table.track[real], table.shared[real]
    purity = shared / table.tracks.points[track]
    return _Pairs(particle, track, shared, purity, shared / table.particles.points[particle])


def _matching(rule: Rule, pairs: _Pairs) -> tuple[Flags, Flags]:
    """Return which pairs make their track matched, and which their particle reconstructed."""
    enough = pairs.shared >= rule.min_shared_points
    pure = enough & (pairs.purity > rule.fraction)
    complete = enough & (pairs.efficiency > rule.fraction)
    if rule.style == "ATLAS":
        return pure, pure.copy()
    if rule.style == "one_way":
        return pure, complete
    return pure & complete, pure & complete


def _is_long(classes: Classes, points: int) -> Flags:
    """Return which classes are objects of at least `points` points."""
    is_long: Flags = (classes.id != 0) & (classes.points >= points)
    return is_long


def _shares(
    table: Contingency, classes: Classes, index: Ints, share: Floats, chosen: Flags
) -> Floats:
    """Return the (E,) sums over the `chosen` classes of the largest share of each."""
    largest = np.zeros(len(classes.id))
    np.maximum.at(largest, index, share)
    sums = np.bincount(classes.event[chosen], weights=largest[chosen], minlength=table.events)
    return sums.astype(float)
