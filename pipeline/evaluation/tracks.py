"""Every score of found tracks, in one result. Axes: P points, E events."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.contingency import Squares
from pipeline.evaluation.matching import Matches, Style, find, match
from pipeline.evaluation.published_matching import LabelMatches, LabelRule, label_matching, ratio
from pipeline.evaluation.published_tracking import binned_tracking, of_all
from pipeline.evaluation.result import RESAMPLES, EvaluationResult
from pipeline.evaluation.track_curves import counted, curves_of
from pipeline.evaluation.tracking import RULE, PerEvent, per_event, rates, scores_of, tabulated

ABOUT = {
    "ari": "adjusted Rand index, mean over events, over all points, noise as one class",
    "ari_particles": "over the points of particles alone",
    "ari_pooled": "of all points of all events as one set",
    "track_efficiency": "share of particles found, by a double majority of points",
    "track_purity": "share of tracks that are a particle, by the same rule",
    "fake_rate": "share of tracks that are none",
    "duplicate_rate": "tracks beyond the first of a particle, over particles found",
    "hit_efficiency": "mean largest share of a particle's points in one track",
    "hit_purity": "mean largest share of a track's points of one particle",
}
EXATRKX = {
    "track_efficiency_ExaTrkX": "as Exa.TrkX's authors count: noise is a particle, ATLAS's rule",
    "fake_rate_ExaTrkX": "as they count, by the same rule",
    "duplicate_rate_ExaTrkX": "as they count, by the same rule",
}
PUBLISHED = {
    "track_efficiency_FM4NPP": "as FM4NPP's authors count: noise is a track, up to 3 GeV",
    "track_purity_FM4NPP": "as they count: mean over 15 bins of pT, with noise and empty bins",
}
LABELLED = ("particles", "tracks", "matched", "reconstructed", "duplicates")
SQUARES = "squares"
OTHER_RULES: dict[Style, str] = {
    "ATLAS": "where a majority of the track's points is enough",
    "one_way": "where a majority of either side's points finds that side",
}


def evaluate_tracks(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    seed: int,
    pt_gev: NDArray[Any] | None = None,
    eta: NDArray[Any] | None = None,
) -> EvaluationResult:
    """Return the scores of the tracks found in E events, and curves by pT and η where known.

    Beside them stand the scores of Exa.TrkX's authors, and with pT those of FM4NPP's.

    Arguments and errors are those of `evaluate_events` and `efficiency_curves`.
    """
    return scores_of_tracks(reduced(true, predicted, offsets, pt_gev=pt_gev, eta=eta), seed=seed)


def reduced(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    pt_gev: NDArray[Any] | None = None,
    eta: NDArray[Any] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return what `scores_of_tracks` takes of some events: of more, one behind the other.

    Nothing of it is of points: arrays (E,) of events, sums (1, …), and η of particles and tracks.

    Arguments and errors are those of `evaluate_tracks`.
    """
    table = tabulated(true, predicted, offsets)
    each, found = per_event(true, predicted, offsets, table), find(table, RULE)
    rows: dict[str, NDArray[Any]] = {"ari": each.ari, "ari_particles": each.ari_particles}
    rows |= _flat(SQUARES, each.squares) | _flat(RULE.style, each.matches)
    for style in OTHER_RULES:
        rows |= _flat(style, match(table, replace(RULE, style=style)))
    labelled = _labelled(true, predicted, offsets)
    rows["labelled"] = np.array([[getattr(labelled, name) for name in LABELLED]])
    if pt_gev is not None:
        rows["binned"] = binned_tracking(table, pt_gev).sums[None]
    return rows | counted(table, found, true, pt_gev=pt_gev, eta=eta)


def scores_of_tracks(rows: Mapping[str, NDArray[Any]], *, seed: int) -> EvaluationResult:
    """Return the scores of E events of which `rows` is what was `reduced`."""
    each = PerEvent(
        squares=Squares(**_of(SQUARES, rows)),
        ari=rows["ari"],
        ari_particles=rows["ari_particles"],
        matches=Matches(**_of(RULE.style, rows)),
    )
    scores = scores_of(each, RULE, RESAMPLES, seed=seed)
    rules: dict[str, float] = {}
    for style in OTHER_RULES:
        rules |= rates(Matches(**_of(style, rows)), style)
    others = {
        f"{name}_{style}": f"{text.split(', by')[0]}, {words}"
        for style, words in OTHER_RULES.items()
        for name, text in ABOUT.items()
        if f"{name}_{style}" in rules
    }
    published = _published(rows)
    return EvaluationResult(
        scores={name: getattr(scores, name) for name in ABOUT}
        | {n: rules[n] for n in others}
        | published,
        intervals={
            name: getattr(scores, f"{name}_interval")
            for name in ABOUT
            if hasattr(scores, f"{name}_interval")
        },
        about=ABOUT | others | {name: (EXATRKX | PUBLISHED)[name] for name in published},
        curves=curves_of(rows),
    )


def _published(rows: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return the scores as authors count them."""
    particles, tracks, matched, found, duplicates = rows["labelled"].sum(0).tolist()
    rates = (ratio(found, particles), 1 - ratio(matched, tracks), ratio(duplicates, found))
    published = dict(zip(EXATRKX, rates, strict=True))
    if "binned" in rows:
        published |= dict(zip(PUBLISHED, of_all(rows["binned"].sum(0)), strict=True))
    return published


def _flat(prefix: str, arrays: Squares | Matches) -> dict[str, NDArray[Any]]:
    """Return the arrays by names that begin with `prefix`."""
    return {f"{prefix}.{name}": values for name, values in vars(arrays).items()}


def _of(prefix: str, rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with `prefix`, without it."""
    names = (name for name in rows if name.startswith(f"{prefix}."))
    return {name.partition(".")[2]: rows[name] for name in names}


def _labelled(
    true: NDArray[np.integer], predicted: NDArray[np.integer], offsets: NDArray[np.integer]
) -> LabelMatches:
    """Return what Exa.TrkX's authors match; a point without a track is one of its own."""
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    hit = np.arange(len(true))
    alone = predicted.max(initial=0) + 1 + hit
    tracks = np.where(predicted == 0, alone, predicted).astype(np.int64)
    return label_matching(event, hit, true.astype(np.int64), tracks, LabelRule())
