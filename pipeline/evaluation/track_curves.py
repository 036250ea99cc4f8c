"""Efficiency of particles and fake rate of tracks, by transverse momentum and pseudorapidity.

Axes: P points, E events, T particles, R tracks, K bins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Contingency, Floats, Ints
from pipeline.evaluation.inputs import check_rows, check_shape
from pipeline.evaluation.intervals import of_fraction
from pipeline.evaluation.matching import Flags, Found, Rule, find
from pipeline.evaluation.result import Curve
from pipeline.evaluation.tracking import RULE, tabulated

# As train/downstream/calculate_tracking_eff_purity.py of github.com/FM4NPP/PP_collision bins them.
PT_EDGES_GEV = np.linspace(0, 3, 16)
ETA_BINS = 15
PT_TITLE = "true pT [GeV], the last bin open"


def efficiency_curves(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    pt_gev: NDArray[Any] | None = None,
    eta: NDArray[Any] | None = None,
    rule: Rule = RULE,
) -> list[Curve]:
    """Return the track efficiency by pT and by η, and the fake rate by η: those that are known.

    pT and η of a particle or a track are means over its points. The pT bins are 0.2 GeV wide; of η
    there are 15, evenly over what holds 99 % of the particles. Beyond the edges, the outermost bin
    counts; bins without a particle or track have no point. Intervals: `intervals.of_fraction`.

    Args:
        true: (P,) as of `evaluate_events`, whose errors are raised here too.
        predicted: (P,) likewise.
        offsets: (E+1,) likewise.
        pt_gev: (P,) the true pT of the particle of each point, 0 where it is unknown: such a
            particle is in no bin. That of noise is not looked at.
        eta: (P,) the pseudorapidity of each point.
        rule: When a track matches a particle.

    Raises:
        ValueError: A pT is negative or no number, or an η is no finite number.
    """
    table = tabulated(true, predicted, offsets)
    return curves_of(counted(table, find(table, rule), true, pt_gev=pt_gev, eta=eta))


def counted(
    table: Contingency,
    found: Found,
    true: NDArray[np.integer],
    *,
    pt_gev: NDArray[Any] | None,
    eta: NDArray[Any] | None,
) -> dict[str, NDArray[Any]]:
    """Return what the curves take of some events; that of more is one behind the other.

    `pt_counts` (1, 2, K) are particles and those that are found, by pT; `particle_eta`, (T,) of
    those that count, with `particle_found`, and `track_eta`, (R,) likewise, with `track_fake`.

    Arguments and errors are those of `efficiency_curves`.
    """
    rows: dict[str, NDArray[Any]] = {}
    if pt_gev is not None:
        pt = _pt(pt_gev, true != 0)
        of_particle = _means(pt, table.particle_of_point, len(found.is_particle))
        known = found.is_particle & (of_particle > 0)
        rows["pt_counts"] = _counts(of_particle[known], found.tracks[known] > 0, PT_EDGES_GEV)[None]
    if eta is not None:
        eta = _checked("eta", eta, len(true))
        of_particle = _means(eta, table.particle_of_point, len(found.is_particle))
        of_track = _means(eta, table.track_of_point, len(found.is_track))
        rows["particle_eta"] = of_particle[found.is_particle]
        rows["particle_found"] = found.tracks[found.is_particle] > 0
        rows["track_eta"] = of_track[found.is_track]
        rows["track_fake"] = ~found.is_matched[found.is_track]
    return rows


def curves_of(rows: Mapping[str, NDArray[Any]]) -> list[Curve]:
    """Return the curves of what was `counted`."""
    curves = []
    if "pt_counts" in rows:
        drawn = _shares(rows["pt_counts"].sum(0), PT_EDGES_GEV)
        curves.append(Curve("efficiency by pT", PT_TITLE, "track efficiency", *drawn))
    if "particle_eta" in rows:
        edges = _eta_edges(rows["particle_eta"])
        drawn = _shares(_counts(rows["particle_eta"], rows["particle_found"], edges), edges)
        curves.append(Curve("efficiency by η", "η", "track efficiency", *drawn))
        drawn = _shares(_counts(rows["track_eta"], rows["track_fake"], edges), edges)
        curves.append(Curve("fake rate by η", "η", "fake rate", *drawn))
    return curves


def _pt(pt_gev: NDArray[Any], is_signal: Flags) -> Floats:
    """Return the pT (P) of the points, 0 for noise."""
    check_shape("pt_gev", pt_gev, (len(is_signal),), f"({len(is_signal)},), one per point")
    good = ~is_signal | (np.isfinite(pt_gev) & (pt_gev >= 0))
    check_rows("pt_gev", good, pt_gev, "a finite number from 0, for points of particles")
    return np.where(is_signal, pt_gev, 0.0).astype(np.float64)


def _checked(name: str, values: NDArray[Any], points: int) -> Floats:
    """Return the values (P) of the points."""
    check_shape(name, values, (points,), f"({points},), one per point")
    check_rows(name, np.isfinite(values), values, "a finite number")
    return values.astype(np.float64)


def _means(values: Floats, index: Ints, classes: int) -> Floats:
    """Return the mean of the points' values (P) over each of the classes in `index` (P)."""
    counts = np.bincount(index, minlength=classes)
    means: Floats = np.bincount(index, values, minlength=classes) / counts
    return means


def _eta_edges(eta: Floats) -> Floats:
    """Return the edges (K+1), as far on both sides and on a tenth."""
    end = np.ceil(10 * np.quantile(np.abs(eta), 0.99)) / 10 if len(eta) else 1.0
    return np.linspace(-max(end, 0.1), max(end, 0.1), ETA_BINS + 1)


def _counts(values: Floats, passes: Flags, edges: Floats) -> Ints:
    """Return how many of the values are in each bin, and how many of them pass (2, K)."""
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.stack([np.bincount(each, minlength=len(edges) - 1) for each in (bins, bins[passes])])


def _shares(counts: Ints, edges: Floats) -> Sequence[list[float]]:
    """Return centre, share, and its interval, of the bins in which something counts (2, K)."""
    total, passed = counts
    there = total > 0
    total, passed = total[there], passed[there]
    centres = ((edges[1:] + edges[:-1]) / 2)[there]
    columns = (centres, passed / total, *of_fraction(passed, total))
    return [each.tolist() for each in columns]
