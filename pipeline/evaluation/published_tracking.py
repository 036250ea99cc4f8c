"""Track efficiency and purity by pT as FM4NPP's authors count them.

train/downstream/calculate_tracking_eff_purity.py of github.com/FM4NPP/PP_collision at d668667. It
is not what `pipeline.evaluation.tracking` counts: the noise of an event is a true track of pT 0,
points without a track are a found track, and the mean purity is over bins of pT, empty ones with 0.

Axes: P points, T true tracks, R found tracks, K bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency, Floats, Ints
from pipeline.evaluation.matching import FM4NPP, Rule

EDGES_GEV = np.linspace(0, 3, 16)
NOWHERE = -1


@dataclass(frozen=True)
class BinnedTracking:
    """Scores by bin of pT (K) and over all; 0 where a bin is empty.

    tracks: true tracks long enough to be found; found: those of them that are; claims: found tracks
    of each of these, mean; hit_efficiency: largest share of a true track's points in one found
    track, mean over true tracks; purity: largest share of a found track's points of one true
    track, mean over found tracks; fake_rate: share of found tracks that are not the true track in
    whose bin they stand. Errors are of means. `counted` are the found tracks of each bin, and
    `purities` the sum of theirs.
    """

    tracks: Floats
    found: Floats
    claims: Floats
    efficiency: Floats
    efficiency_error: Floats
    hit_efficiency: Floats
    hit_efficiency_error: Floats
    purity: Floats
    purity_error: Floats
    fake_rate: Floats
    counted: Floats
    purities: Floats

    @property
    def efficiency_of_all(self) -> float:
        """The found of the tracks of all bins, NaN where there are none."""
        tracks = self.tracks.sum()
        return float(self.found.sum() / tracks) if tracks else float("nan")

    @property
    def mean_purity(self) -> float:
        """The mean over bins, an empty one with 0."""
        return float(self.purity.mean())

    @property
    def sums(self) -> Floats:
        """What `of_all` takes of some events (4, K)."""
        return np.stack([self.tracks, self.found, self.counted, self.purities])


def of_all(sums: Floats) -> tuple[float, float]:
    """Return efficiency and mean purity of all events from the summed `sums` (4, K) of parts."""
    tracks, found, counted, purities = sums
    share = float(found.sum() / tracks.sum()) if tracks.sum() else float("nan")
    return share, float(_ratio(purities, counted).mean())


def binned_tracking(
    table: Contingency, pt_gev: NDArray[np.floating], *, rule: Rule = FM4NPP, least_pt: float = 0.0
) -> BinnedTracking:
    """Return efficiency and purity by pT.

    Args:
        table: Of true and found tracks; id 0 is noise, or no track.
        pt_gev: (P,) of the true track of each point; that of noise is not read.
        rule: `fraction`, `min_shared_points` and `min_particle_points` apply.
        least_pt: True tracks below it are not counted; purities have no such cut.
    """
    bins = _bin_of_tracks(table, pt_gev)
    efficiency = table.shared / table.particles.points[table.particle]
    purity = table.shared / table.tracks.points[table.track]
    both = (efficiency > rule.fraction) & (purity > rule.fraction)
    matched = both & (table.shared >= rule.min_shared_points)
    # A cut on pT is one on the bin's contents, so it compares each track's own pT.
    counted = (table.particles.points >= rule.min_particle_points) & (bins != NOWHERE)
    counted &= _pt_of_tracks(table, pt_gev) >= least_pt
    claims = np.bincount(table.particle, matched, len(bins))
    hits = _largest(efficiency, table.particle, len(bins))
    tracks, found = _count(bins[counted]), _count(bins[counted & (claims > 0)])
    share = _ratio(found, tracks)
    pure = _purities(table, bins, both, rule)
    return BinnedTracking(
        tracks=tracks,
        found=found,
        claims=_ratio(_count(bins[counted], claims[counted]), found),
        efficiency=share,
        efficiency_error=np.sqrt(_ratio(share * (1 - share), tracks)),
        hit_efficiency=_mean(bins[counted], hits[counted]),
        hit_efficiency_error=_error(bins[counted], hits[counted]),
        purity=_mean(*pure[:2]),
        purity_error=_error(*pure[:2]),
        fake_rate=_mean(pure[0], pure[2]),
        counted=_count(pure[0]),
        purities=_count(*pure[:2]),
    )


def _purities(
    table: Contingency, bins: Ints, both: NDArray[np.bool_], rule: Rule
) -> tuple[Ints, Floats, Floats]:
    """Return bin, purity and falseness of each found track that counts.

    A found track stands beside the true track of the smallest id that it shares points with: that
    one decides whether it counts, its bin, and whether it is false. Its purity is that of its best.
    """
    _, beside = np.unique(table.track, return_index=True)  # pairs are sorted by true id
    of_track = bins[table.particle[beside]]
    counts = (table.shared[beside] >= rule.min_shared_points) & (of_track != NOWHERE)
    shares = table.shared / table.tracks.points[table.track]
    purity = _largest(shares, table.track, len(beside))
    return of_track[counts], purity[counts], (~both[beside][counts]).astype(float)


def _pt_of_tracks(table: Contingency, pt_gev: NDArray[np.floating]) -> Floats:
    """Return the pT of each true track (T), 0 of noise."""
    found = np.zeros(len(table.particles.id))
    found[table.particle_of_point] = pt_gev
    return np.where(table.particles.id == 0, 0.0, found)


def _bin_of_tracks(table: Contingency, pt_gev: NDArray[np.floating]) -> Ints:
    """Return the bin of each true track (T); a bin holds its upper edge, and the first one 0."""
    pt = _pt_of_tracks(table, pt_gev)
    bins = np.maximum(np.searchsorted(EDGES_GEV, pt) - 1, 0)
    return np.where((pt >= 0) & (pt <= EDGES_GEV[-1]), bins, NOWHERE)


def _largest(values: Floats, index: Ints, count: int) -> Floats:
    """Return the largest of `values` of each `index`, 0 where there is none."""
    found = np.zeros(count)
    np.maximum.at(found, index, values)
    return found


def _count(bins: Ints, weights: Floats | None = None) -> Floats:
    """Return how many stand in each bin, or the sum of their weights (K)."""
    return np.bincount(bins, weights, len(EDGES_GEV) - 1).astype(float)


def _mean(bins: Ints, values: Floats) -> Floats:
    """Return the mean in each bin (K), 0 where it is empty."""
    return _ratio(_count(bins, values), _count(bins))


def _error(bins: Ints, values: Floats) -> Floats:
    """Return the error of the mean in each bin (K), 0 where it has fewer than two."""
    count = _count(bins)
    squares = _count(bins, (values - _mean(bins, values)[bins]) ** 2)
    return np.sqrt(_ratio(squares, count * (count - 1)))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Return top over bottom, 0 where bottom is 0."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
