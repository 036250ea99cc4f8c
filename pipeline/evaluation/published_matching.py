"""Track efficiency, fakes and duplicates as Exa.TrkX's authors count them.

Examples/TrackML_Quickstart/Scripts/Step_6_Evaluate_Reconstruction.py of
github.com/HSF-reco-and-software-triggers/Tracking-ML-Exa.TrkX at fd0b405. It is not what
`pipeline.evaluation.matching` counts: noise is a particle like any other, a hit may be in several
tracks, and a share that reaches the fraction is enough.

Axes: P entries, each a hit in a track; K pairs of a track and a particle.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency, Floats, Ints, contingency
from pipeline.evaluation.matching import Flags, Style

# Exactly half of a track is no majority, so the authors raise this fraction, and no other.
HALF, MORE_THAN_HALF = 0.5, 0.50001


@dataclass(frozen=True)
class LabelRule:
    """When a track matches a particle, and which of them count.

    A share is enough if it is at least `fraction`; the styles are those of
    `pipeline.evaluation.matching`. The noise of an event, id 0, is a "particle" as the authors
    count it, or "none".
    """

    style: Style = "ATLAS"
    fraction: float = HALF
    min_particle_points: int = 3
    min_track_points: int = 3
    noise: Literal["particle", "none"] = "particle"

    @property
    def least(self) -> float:
        """The smallest share that is enough."""
        return MORE_THAN_HALF if self.fraction == HALF else self.fraction


@dataclass(frozen=True)
class LabelMatches:
    """Pairs of a track and a particle that share entries (K), sorted by event, track, particle.

    shared: entries of both; of_track: entries of the track; of_particle: hits of the particle;
    purity and efficiency: shared over each; is_track, is_particle: whether it is long enough to
    count; is_matched: whether the pair makes its track a found one, is_reconstructed: its particle.
    """

    event: Ints
    track: Ints
    particle: Ints
    shared: Ints
    of_track: Ints
    of_particle: Ints
    is_track: Flags
    is_particle: Flags
    purity: Floats
    efficiency: Floats
    is_matched: Flags
    is_reconstructed: Flags

    @property
    def particles(self) -> int:
        """The particles that are long enough."""
        return _distinct(self.event, self.particle, self.is_particle)

    @property
    def tracks(self) -> int:
        """The tracks that are long enough."""
        return _distinct(self.event, self.track, self.is_track)

    @property
    def matched(self) -> int:
        """Those of them that are matched, if to a particle that is too short."""
        return _distinct(self.event, self.track, self.is_track & self.is_matched)

    @property
    def reconstructed(self) -> int:
        """The particles that are long enough and that a track which is so reconstructs."""
        return _distinct(self.event, self.particle, self._counted)

    @property
    def duplicates(self) -> int:
        """The tracks beyond the first of each particle that is reconstructed."""
        return int(self._counted.sum()) - self.reconstructed

    @property
    def _counted(self) -> Flags:
        return self.is_reconstructed & self.is_particle & self.is_track

    @property
    def efficiency_of_all(self) -> float:
        """The reconstructed of all particles, events pooled; NaN where there are none."""
        return ratio(self.reconstructed, self.particles)

    @property
    def fake_rate(self) -> float:
        """The tracks that are not matched, of all."""
        return 1 - ratio(self.matched, self.tracks)

    @property
    def duplicate_rate(self) -> float:
        """The duplicates for each reconstructed particle."""
        return ratio(self.duplicates, self.reconstructed)


def label_matching(
    event: Ints, hit: Ints, particle: Ints, track: Ints, rule: LabelRule
) -> LabelMatches:
    """Return which tracks match which particles in all events.

    Args:
        event: (P,) the event of each entry, counted from 0.
        hit: (P,) its hit, by an id that is its own in the event; one in two tracks has two entries.
        particle: (P,) the particle of the hit; 0 is noise.
        track: (P,) the track that the hit is in; each has one, if of itself alone.
        rule: What matches.
    """
    events = int(event.max()) + 1 if len(event) else 0
    table = contingency(event, particle, track, events=events)
    kept = np.flatnonzero((rule.noise == "particle") | (table.particles.id[table.particle] != 0))
    names = (table.particles.id[table.particle], table.tracks.id[table.track])
    kept = kept[np.lexsort((names[0][kept], names[1][kept], table.tracks.event[table.track][kept]))]
    of_particle, of_track = table.particle[kept], table.track[kept]
    shared, entries = table.shared[kept], table.tracks.points[of_track]
    hits = _hits(table, hit)[of_particle]
    purity, efficiency = shared / entries, shared / hits
    matched, reconstructed = _matching(rule, purity, efficiency)
    return LabelMatches(
        event=table.tracks.event[of_track],
        track=table.tracks.id[of_track],
        particle=table.particles.id[of_particle],
        shared=shared,
        of_track=entries,
        of_particle=hits,
        is_track=entries >= rule.min_track_points,
        is_particle=hits >= rule.min_particle_points,
        purity=purity,
        efficiency=efficiency,
        is_matched=matched,
        is_reconstructed=reconstructed,
    )


def _hits(table: Contingency, hit: Ints) -> Ints:
    """Return the number of distinct hits of each particle of the table."""
    names, index = np.unique(hit, return_inverse=True)
    distinct = np.unique(table.particle_of_point * len(names) + index)
    return np.bincount(distinct // max(1, len(names)), minlength=len(table.particles.id))


def _matching(rule: LabelRule, purity: Floats, efficiency: Floats) -> tuple[Flags, Flags]:
    """Return which pairs make their track matched, and which their particle reconstructed."""
    pure, complete = purity >= rule.least, efficiency >= rule.least
    return {
        "ATLAS": (pure, pure),
        "one_way": (pure, complete),
        "two_way": (pure & complete, pure & complete),
    }[rule.style]


def _distinct(event: Ints, ids: Ints, chosen: NDArray[np.bool_]) -> int:
    """Return how many objects the chosen pairs are of."""
    return len(np.unique(np.stack([event[chosen], ids[chosen]], 1), axis=0))


def ratio(top: int, bottom: int) -> float:
    """Return top over bottom, NaN for nothing over nothing."""
    return top / bottom if bottom else float("nan")
