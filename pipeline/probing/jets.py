"""Generated jets beside true ones, whatever model they are from. Axes: J jets, P constituents."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.codebooks import FOLDS, two_sample_auc
from pipeline.evaluation.distances import (
    Distance,
    quantile_divergence,
    wasserstein,
    with_interval,
)
from pipeline.evaluation.intervals import Interval
from pipeline.evaluation.jets import (
    OF_CONSTITUENTS,
    OF_JETS,
    OF_SHAPES,
    UNITS,
    observables,
    shapes,
)
from pipeline.evaluation.result import Histogram, histogram

BINS = dict.fromkeys((*OF_JETS, *OF_SHAPES), 30) | dict.fromkeys(OF_CONSTITUENTS, 50)
JUDGED = ("jet_pt", "jet_mass", "multiplicity", *OF_SHAPES)
JETS_AT_ONCE = 256
Measured = Mapping[str, NDArray[np.float64]]


def measured(points: NDArray[np.floating], offsets: NDArray[np.int64]) -> Measured:
    """Return what is measured of jets with constituents (P, 3): ln(pT / GeV), Δη, Δφ."""
    log_pt, deta, dphi = points.astype(np.float64).T
    constituents = (np.exp(log_pt), deta, dphi, offsets)
    return observables(*constituents) | shapes(*constituents)


def distances(
    true: Measured, made: Measured, bins: Mapping[str, int], *, seed: int
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return KL and Wasserstein-1 from true to made, and their intervals, of what `bins` names."""
    scores: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for name, number in bins.items():
        kinds: dict[str, Distance] = {
            "kl": partial(quantile_divergence, bins=number),
            "w1": wasserstein,
        }
        for kind, distance in kinds.items():
            found = with_interval(distance, true[name], made[name], seed=seed)
            scores[f"{kind}_{name}"], intervals[f"{kind}_{name}"] = found
    return scores, intervals


def separability(true: Measured, made: Measured, *, seed: int) -> float | None:
    """Return the AUC by which boosted trees distinguish made jets from true ones.

    None if there are too few jets. They see the mass, multiplicity, pT and substructure of a jet.
    """
    of_truth, of_made = (judged(each) for each in (true, made))
    if min(len(of_truth), len(of_made)) < FOLDS:
        return None
    return two_sample_auc(of_truth, of_made, seed=seed)


def judged(jets: Measured) -> NDArray[np.float64]:
    """Return what trees are given of each jet (J, F)."""
    return np.stack([jets[name] for name in JUDGED], 1)


def about(bins: Mapping[str, int]) -> dict[str, str]:
    """Return what the scores of generated jets mean."""
    found = {
        "auc_generated": "by which trees distinguish generated jets from true ones; 0.5: not at all"
    }
    for name in bins:
        found[f"kl_{name}"] = "KL divergence, nats: truth to generated"
        found[f"w1_{name}"] = f"Wasserstein-1 of truth and generated, unit {UNITS.get(name, '1')}"
    return found


def compared(name: str, true: Measured, made: Measured, *, suffix: str = "") -> Histogram:
    """Return the histogram of a quantity, with `suffix` after its name.

    The pT of constituents spans decades, so of its logarithm.
    """
    title, unit, pair = name.replace("_", " "), UNITS.get(name, "1"), (true[name], made[name])
    if name == "constituent_pt":
        pair, title, unit = (np.log10(pair[0]), np.log10(pair[1])), f"log10 {title}", "GeV"
    return histogram(f"{title}{suffix}", *pair, unit=unit)
