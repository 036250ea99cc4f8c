"""Each class against the rest and against QCD: areas, cuts, rejections and calibration."""

import json

import numpy as np
import pytest
from sklearn import metrics

from pipeline import records
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import Pictures


def points(count, classes, strength=1.5):
    """True classes, and probabilities that tell something of them."""
    rng = np.random.default_rng(3)
    true = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), true] += strength
    shares = np.exp(logits)
    return true, shares / shares.sum(1, keepdims=True)


NAMES = ["QCD", "Hbb", "Hcc", "Tbl"]


@pytest.fixture(scope="module")
def found():
    true, scores = points(6000, len(NAMES), strength=1.0)
    return true, scores, evaluate_classes(true, scores, None, names=NAMES, seed=1, resamples=5)


def test_the_area_of_each_class_is_that_of_scikit_learn_against_the_rest(found):
    true, scores, result = found
    for place, name in enumerate(NAMES):
        expected = metrics.roc_auc_score(true == place, scores[:, place])
        assert result.scores[f"auc_{name}"] == pytest.approx(expected)
        low, high = result.intervals[f"auc_{name}"]
        assert low < expected < high


def test_a_cut_lets_as_much_signal_through_as_it_says_and_rejects_the_background(found):
    true, scores, result = found
    asked = {(each.signal, each.background) for each in result.working_points}
    pairs = {(name, "the rest") for name in NAMES} | {(name, "QCD") for name in NAMES[1:]}
    assert asked == pairs
    for each in result.working_points:
        place = NAMES.index(each.signal)
        score, among = scores[:, place], np.ones(len(true), bool)
        if each.background == "QCD":
            score, among = score / (score + scores[:, 0]), (true == place) | (true == 0)
        passing = among & (score >= each.threshold)
        assert (passing & (true == place)).sum() / (true == place).sum() >= each.efficiency
        background = among & (true != place)
        assert each.rejection == pytest.approx(background.sum() / (passing & background).sum())
        assert each.low < each.rejection < each.high


def test_cuts_are_told_where_they_are_published_too(found):
    of_qcd = {
        name: [
            each.efficiency
            for each in found[2].working_points
            if (each.signal, each.background) == (name, "QCD")
        ]
        for name in NAMES[1:]
    }
    assert of_qcd["Hbb"] == [0.3, 0.5, 0.7, 0.9, 0.99]
    assert of_qcd["Tbl"] == [0.3, 0.5, 0.7, 0.9, 0.99, 0.995]
    told = [e for e in found[2].working_points if (e.signal, e.background) == ("Tbl", "QCD")]
    assert found[2].scores["rejection_Tbl"] == told[-1].rejection


def test_each_class_has_its_curves(found):
    true, scores, result = found
    titles = [(each.name, each.x_title, each.y_title) for each in result.curves]
    assert titles[0] == ("ROC, Hbb", "efficiency of Hbb", "rejection of QCD")
    assert titles[3] == ("ROC, QCD", "efficiency of QCD", "rejection of the rest")
    assert titles[-1] == ("calibration", "confidence", "accuracy")
    curve = next(each for each in result.curves if each.name == "calibration, Hcc")
    assert (curve.x_title, curve.y_title) == ("probability of Hcc", "share that is Hcc")
    inside = (scores[:, 2] > 0.2) & (scores[:, 2] <= 4 / 15)
    assert (true[inside] == 2).mean() in [pytest.approx(each) for each in curve.y]


def test_without_a_background_that_passes_nothing_endless_is_written(tmp_path):
    true = np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
    result = evaluate_classes(true, scores, None, names=["b", "s"], seed=1, resamples=5)
    assert {each.rejection for each in result.working_points} == {None}
    assert result.working_points[0].threshold == 0.8
    records.write(tmp_path / "pictures.json", result.pictures)
    text = (tmp_path / "pictures.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)
    assert Pictures.model_validate_json(text).working_points == tuple(result.working_points)


def test_of_very_many_classes_none_is_looked_at_alone():
    true, scores = points(200, 30)
    names = [f"c{place}" for place in range(30)]
    result = evaluate_classes(true, scores, None, names=names, seed=1, resamples=5)
    assert result.working_points == []
    assert [each.name for each in result.curves] == ["calibration"]
    assert "auc_c0" not in result.scores
