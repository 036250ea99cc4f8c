"""Numbers of events: R² and errors against scikit-learn, intervals that cover."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from pipeline.evaluation.values import evaluate_values

RNG = np.random.default_rng(0)
TRUE = np.stack([RNG.normal(0.8, 0.1, 400), RNG.uniform(-5, 5, 400)], 1)
TOLD = TRUE + RNG.normal(size=TRUE.shape) * (0.05, 2.0)
NAMES = ("sigma8", "energy")


def test_scores_are_those_of_scikit_learn():
    scores = evaluate_values(TRUE, TOLD, NAMES, seed=1).scores
    each = r2_score(TRUE, TOLD, multioutput="raw_values")
    assert [scores["r2_sigma8"], scores["r2_energy"]] == pytest.approx(each)
    assert scores["r2"] == pytest.approx(each.mean())
    assert scores["rms_energy"] == pytest.approx(2.0, rel=0.1)
    assert scores["relative_error"] == pytest.approx(np.sqrt(1 - each).mean())


def test_who_knows_all_and_who_says_the_mean():
    assert evaluate_values(TRUE, TRUE, NAMES, seed=1).scores["r2"] == 1.0
    mean = np.broadcast_to(TRUE.mean(0), TRUE.shape)
    scores = evaluate_values(TRUE, mean, NAMES, seed=1).scores
    assert scores["r2"] == pytest.approx(0.0, abs=1e-12)
    assert scores["relative_error"] == pytest.approx(1.0)


def test_intervals_cover_as_often_as_they_say():
    """Of samples of a linear law with noise, whose R² is known: 1 - 1/5."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        true = rng.normal(size=(300, 1)) * np.sqrt(5)
        look = evaluate_values(true, true + rng.normal(size=(300, 1)), ("x",), seed=seed)
        low, high = look.intervals["r2"]
        assert low < look.scores["r2"] < high
        covered += low < 0.8 < high
    assert 30 <= covered <= 52, "68 % of 60"


@pytest.mark.parametrize(
    ("true", "told", "message"),
    [
        (TRUE[:0], TOLD[:0], "two events or more"),
        (TRUE, TOLD[:9], "predicted: float64 of shape"),
        (np.where(TRUE > 5, TRUE, np.nan), TOLD, "true: row 0 holds"),
        (np.ones_like(TRUE), TOLD, "the same in all events"),
    ],
)
def test_what_cannot_be_scored_is_refused(true, told, message):
    with pytest.raises(ValueError, match=message):
        evaluate_values(true, told, NAMES, seed=1)
