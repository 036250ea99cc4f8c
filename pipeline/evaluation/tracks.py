"""All that is said of found tracks, as one look. Axes: P points, E events."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.look import Look
from pipeline.evaluation.tracking import evaluate_events

ABOUT = {
    "ari": "adjusted Rand index, mean over events, over all points, noise as one class",
    "ari_particles": "over the points of particles alone",
    "ari_pooled": "of all points of all events as one set",
    "track_efficiency": "share of particles found by a double majority of points",
    "track_purity": "share of tracks that are a particle by that rule",
    "fake_rate": "share of tracks that are none",
    "duplicate_rate": "tracks beyond the first of a particle, over particles found",
    "hit_efficiency": "mean largest share of a particle's points in one track",
    "hit_purity": "mean largest share of a track's points of one particle",
}


def look_of_tracks(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    seed: int,
    pt_gev: NDArray[Any] | None = None,
    eta: NDArray[Any] | None = None,
) -> Look:
    """Return the scores of the tracks found in E events, and where known those by pT and η.

    `pt_gev` (P) is the true pT of each point's particle, `eta` (P) of each point; the other
    arguments and errors are those of `evaluate_events`.
    """
    scores = evaluate_events(true, predicted, offsets, seed=seed)
    return Look(
        scores={name: getattr(scores, name) for name in ABOUT},
        intervals={
            name: getattr(scores, f"{name}_interval")
            for name in ABOUT
            if hasattr(scores, f"{name}_interval")
        },
        about=ABOUT,
    )
