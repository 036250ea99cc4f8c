"""ε_S/√ε_B: cases worked by hand, and intervals that hold the truth."""

import numpy as np
import pytest

from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.ranking import ranked
from pipeline.evaluation.significance import improvement


def of(signal, background, *, seed=0):
    scores = np.concatenate([signal, background]).astype(float)
    is_signal = np.arange(len(scores)) < len(signal)
    found = ranked(scores, is_signal.astype(np.int64), np.arange(len(scores)))
    return improvement(found, len(scores), seed=seed)


def test_a_cut_worked_by_hand():
    background = np.arange(2000)[::-1]  # scores 0 to 1999
    signal = np.repeat([1989.5, 1500.5, 10.5], [30, 50, 20])
    look = of(signal, background)
    # 1989 is the 11th background: 30 of 100 pass beside 11 of 2000.
    at_best = max(0.3 / np.sqrt(11 / 2000), 0.8 / np.sqrt(500 / 2000))
    assert look.scores["sic_max"] == pytest.approx(at_best)
    assert look.scores["sic_1e-2"] == pytest.approx(0.3 / np.sqrt(0.01))
    assert np.isnan(look.scores["sic_1e-3"]), "2 of the background are too few"
    assert "too few" in look.about["sic_1e-3"]
    low, high = look.intervals["sic_1e-2"]
    assert low < look.scores["sic_1e-2"] < high


def test_equal_scores_pass_together():
    look = of([1.0] * 4 + [0.0] * 4, [1.0] * 20 + [0.0] * 60)
    assert look.scores["sic_max"] == pytest.approx(max(0.5 / np.sqrt(0.25), 1))


def test_without_anything_to_tell_it_is_about_one():
    rng = np.random.default_rng(1)
    look = of(rng.random(20_000), rng.random(20_000))
    assert look.scores["sic_1e-2"] == pytest.approx(0.1, abs=0.02), "ε over its root"
    assert look.scores["sic_max"] == pytest.approx(1, abs=0.05)
    (curve,) = look.curves
    assert len(curve.x) <= 200
    assert np.all(np.diff(curve.x) >= 0)
    assert curve.y[-1] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("signal", "background"), [(0, 30), (30, 0), (30, 9)])
def test_too_few_are_no_number(signal, background):
    look = of(np.ones(signal), np.zeros(background))
    assert all(np.isnan(each) for each in look.scores.values())
    assert look.numbers[1] == {}


def test_intervals_hold_the_truth_in_about_two_thirds_of_samples():
    rng = np.random.default_rng(2)
    # background uniform, signal of density 2x: at ε_B = t, ε_S = 1 - (1 - t)²
    truth = (1 - 0.99**2) / np.sqrt(0.01)
    held = []
    for seed in range(60):
        look = of(np.sqrt(rng.random(1500)), rng.random(3000), seed=seed)
        low, high = look.intervals["sic_1e-2"]
        held.append(low <= truth <= high)
    assert 0.5 < np.mean(held) < 0.85


def test_two_classes_have_it_and_ten_do_not():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 2, 400)
    p = np.clip(0.5 + 0.2 * (true - 0.5) + 0.1 * rng.normal(size=400), 0, 1)
    two = evaluate_classes(true, np.stack([1 - p, p], 1), None, names=("a", "b"), seed=1)
    assert two.scores["sic_max"] > 1
    assert {each.name for each in two.curves} == {"ROC", "SIC", "calibration"}
    three = evaluate_classes(true, np.full((400, 3), 1 / 3), None, names=("a", "b", "c"), seed=1)
    assert "sic_max" not in three.scores
