"""Every score of found tracks, in one result. Axes: P points, E events."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.published_matching import LabelMatches, LabelRule, label_matching
from pipeline.evaluation.published_tracking import binned_tracking
from pipeline.evaluation.result import EvaluationResult
from pipeline.evaluation.track_curves import efficiency_curves
from pipeline.evaluation.tracking import evaluate_events, tabulated, under_all_rules

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
OTHER_RULES = {
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
    scores = evaluate_events(true, predicted, offsets, seed=seed)
    rules = under_all_rules(true, predicted, offsets)
    others = {
        f"{name}_{style}": f"{text.split(', by')[0]}, {words}"
        for style, words in OTHER_RULES.items()
        for name, text in ABOUT.items()
        if f"{name}_{style}" in rules
    }
    labelled = _labelled(true, predicted, offsets)
    published = dict(
        zip(
            EXATRKX,
            (labelled.efficiency_of_all, labelled.fake_rate, labelled.duplicate_rate),
            strict=True,
        )
    )
    if pt_gev is not None:
        binned = binned_tracking(tabulated(true, predicted, offsets), pt_gev)
        published |= dict(
            zip(PUBLISHED, (binned.efficiency_of_all, binned.mean_purity), strict=True)
        )
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
        curves=efficiency_curves(true, predicted, offsets, pt_gev=pt_gev, eta=eta),
    )


def _labelled(
    true: NDArray[np.integer], predicted: NDArray[np.integer], offsets: NDArray[np.integer]
) -> LabelMatches:
    """Return what Exa.TrkX's authors match; a point without a track is one of its own."""
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    hit = np.arange(len(true))
    alone = predicted.max(initial=0) + 1 + hit
    tracks = np.where(predicted == 0, alone, predicted).astype(np.int64)
    return label_matching(event, hit, true.astype(np.int64), tracks, LabelRule())
