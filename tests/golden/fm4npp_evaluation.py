"""FM4NPP's scores of found tracks held to the authors' own."""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluation.contingency import adjusted_rand_index, contingency, pooled_rand_index
from pipeline.evaluation.matching import FM4NPP, Rule
from pipeline.evaluation.published_tracking import EDGES_GEV, binned_tracking
from tests.golden.cases import Case, Row, compared

STRICT = Rule(fraction=0.75, min_shared_points=5)
SETTINGS = {"": (FM4NPP, 0.0), "_pt_above_1": (FM4NPP, 1.0), "_strict": (STRICT, 0.0)}
EFFICIENCY = {
    "efficiency": "efficiency",
    "efficiency_error": "efficiency_error",
    "n_seed_per_track": "claims",
    "n_total_tracks": "tracks",
    "n_efficient_tracks": "found",
    "track_hit_efficiency": "hit_efficiency",
    "track_hit_efficiency_error": "hit_efficiency_error",
}
PURITY = {"purity": "purity", "purity_error": "purity_error", "fake_rate": "fake_rate"}


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return "seg_target" in case.about.get("arrays", {})


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares; the centres of bins are given to 0.001 GeV."""
    arrays, tolerance = case.arrays, case.about["tolerance"]["all"]
    given = case.configuration
    strict = given["strict"]
    assert (strict["pure_threshold"], strict["n_hit_threshold"]) == (0.75, 5)
    assert given["pt_above_1"]["pt_cut_min"] == 1.0
    events = int(arrays["batch_idx"].max()) + 1
    table = contingency(
        arrays["batch_idx"], arrays["seg_target"], arrays["pred_assignment"] + 1, events=events
    )
    pt = np.hypot(arrays["px"], arrays["py"])
    centres = (EDGES_GEV[1:] + EDGES_GEV[:-1]) / 2
    yield compared(case, "eff_pT_center", centres, tolerance=1e-3)
    for end, (rule, least) in SETTINGS.items():
        scores = binned_tracking(table, pt, rule=rule, least_pt=least)
        for kind, names in ((f"eff{end}", EFFICIENCY), (f"pur{end}", PURITY)):
            for theirs, ours in names.items():
                found = getattr(scores, ours)
                yield compared(case, f"{kind}_{theirs}", found, tolerance=tolerance)
        for theirs, value in (
            ("integrated_efficiency", scores.efficiency_of_all),
            ("mean_purity", scores.mean_purity),
        ):
            yield compared(case, theirs + end, value, tolerance=tolerance)
    index = adjusted_rand_index(table)
    for name, value in (
        ("ari_of_event", index),
        ("ari_mean", index.mean()),
        ("ari_pooled", pooled_rand_index(table)),
        ("clusters_true", len(table.particles.id)),
        ("clusters_found", len(table.tracks.id)),
    ):
        yield compared(case, name, value, tolerance=tolerance)
