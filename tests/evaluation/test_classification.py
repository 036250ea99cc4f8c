"""Scores of classes: those of scikit-learn, those worked by hand, and what is refused."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from pipeline.evaluation.classification import evaluate_classes

FIVE = ("other", "pion", "kaon", "proton", "electron")
JETCLASS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


def softmax(logits):
    found = np.exp(logits - logits.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def points(count, classes, seed=0, strength=1.5):
    """True classes and probabilities that tell something of them; rounded, so some are equal."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), true] += strength
    return true, softmax(logits.round(1))


def look(true, probabilities, offsets=None, names=None, **options):
    names = names or [f"c{place}" for place in range(probabilities.shape[1])]
    return evaluate_classes(true, probabilities, offsets, names=names, **{"seed": 1} | options)


few = settings(max_examples=40, deadline=None)
samples = st.tuples(st.integers(2, 80), st.integers(2, 6), st.integers(0, 1000))


@few
@given(samples)
def test_scores_are_those_of_scikit_learn(sample):
    true, scores = points(*sample)
    found = look(true, scores, resamples=5).scores
    told = scores.argmax(1)
    macro = metrics.precision_recall_fscore_support(true, told, average="macro", zero_division=0)
    names = ("macro_precision", "macro_recall", "macro_f1")
    assert [found[name] for name in names] == pytest.approx(macro[:3])
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, told))
    labels = range(scores.shape[1])
    assert found["log_loss"] == pytest.approx(metrics.log_loss(true, scores, labels=labels))
    each = metrics.f1_score(true, told, average=None, labels=labels, zero_division=np.nan)
    assert [found[f"f1_c{place}"] for place in labels] == pytest.approx(each, nan_ok=True)


@few
@given(samples)
def test_the_area_is_that_of_scikit_learn(sample):
    true, scores = points(*sample)
    found = look(true, scores, resamples=5).scores["auc"]
    classes = scores.shape[1]
    if len(np.unique(true)) < 2:
        assert np.isnan(found)
    elif classes == 2:
        assert found == pytest.approx(metrics.roc_auc_score(true, scores[:, 1]))
    else:
        expected = metrics.roc_auc_score(true, scores, multi_class="ovo", labels=range(classes))
        assert found == pytest.approx(expected)


@few
@given(samples)
def test_the_confusion_matrix_is_that_of_scikit_learn(sample):
    true, scores = points(*sample)
    (matrix,) = look(true, scores, resamples=5).matrices
    labels = range(scores.shape[1])
    expected = metrics.confusion_matrix(true, scores.argmax(1), labels=labels)
    assert matrix.counts == expected.tolist()


def test_scores_by_hand():
    """Ten points: of six a, four are told right; of four b, three."""
    true = np.array([0] * 6 + [1] * 4)
    told = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])
    scores = np.where(np.arange(2) == told[:, None], 0.8, 0.2)
    found = look(true, scores, names=["a", "b"]).scores
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["macro_recall"] == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert found["macro_precision"] == pytest.approx((4 / 5 + 3 / 5) / 2)
    assert (found["f1_a"], found["f1_b"]) == pytest.approx((8 / 11, 6 / 9))
    assert found["calibration_error"] == pytest.approx(0.1)
    assert found["log_loss"] == pytest.approx(-(0.7 * np.log(0.8) + 0.3 * np.log(0.2)))
    # Of 24 pairs 12 are in order (4 × 3), and 10 are equal (4 × 1 + 2 × 3).
    assert found["auc"] == pytest.approx((12 + 5) / 24)


@few
@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_points_in_events_does_not_matter(sample, random):
    true, scores = points(*sample)
    order = random.sample(range(len(true)), len(true))
    offsets = np.array([0, len(true)])
    one = look(true, scores, offsets, resamples=5).scores
    other = look(true[order], scores[order], offsets, resamples=5).scores
    assert other == pytest.approx(one, nan_ok=True)


def test_a_calibrated_model_has_no_calibration_error_and_a_sure_one_does():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 200_000)
    true = (rng.uniform(size=len(sure)) > sure).astype(int)
    scores = np.stack([sure, 1 - sure], axis=1)
    calibrated = look(true, scores, resamples=50)
    assert calibrated.scores["calibration_error"] < 0.005
    curve = calibrated.curves[-1]
    assert curve.name == "calibration"
    assert curve.y == pytest.approx(curve.x, abs=0.02)
    assert (np.array(curve.low) <= curve.y).all()
    assert (np.array(curve.high) >= curve.y).all()
    sharper = scores**3 / (scores**3).sum(1, keepdims=True)
    over = look(true, sharper, resamples=50)
    assert over.scores["calibration_error"] > 0.1
    low, high = over.intervals["calibration_error"]
    assert low < over.scores["calibration_error"] < high


def test_rejections_are_those_of_scikit_learn_s_curve():
    true, scores = points(4000, 2)
    found = look(true, scores, resamples=5)
    passed, kept, _ = metrics.roc_curve(true, scores[:, 1], drop_intermediate=False)
    for efficiency in (0.3, 0.5):
        expected = kept[np.argmax(kept >= efficiency)], passed[np.argmax(kept >= efficiency)]
        name = f"rejection_{100 * efficiency:.0f}"
        assert found.scores[name] == pytest.approx(1 / expected[1])
        low, high = found.intervals[name]
        assert low < found.scores[name] < high
    curve = found.curves[0]
    assert curve.name == "ROC"
    assert len(curve.x) <= 200
    best_first = zip(kept[::-1], passed[::-1], strict=True)
    on_curve = {round(k, 9): 1 / p for k, p in best_first if p > 0}
    assert [on_curve[round(x, 9)] for x in curve.x] == pytest.approx(curve.y)


def test_rejection_by_hand():
    """Signal at .9 .8 .7 .6; background at .85 .65 and six below: two of eight pass at one half."""
    of_second = np.array([0.9, 0.8, 0.7, 0.6, 0.85, 0.75, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    true = np.array([1] * 4 + [0] * 8)
    found = look(true, np.stack([1 - of_second, of_second], axis=1)).scores
    assert found["rejection_50"] == pytest.approx(8)
    assert found["rejection_30"] == pytest.approx(8)


def test_where_no_background_passes_there_is_no_rejection():
    true = np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
    found = look(true, scores)
    assert np.isnan(found.scores["rejection_50"])
    assert found.about["rejection_50"].endswith("none, for no background of 2 passes")
    assert "rejection_50" not in found.numbers[1]


def test_jets_are_told_from_qcd_at_the_published_working_points():
    true, scores = points(5000, 10)
    found = look(true, scores, names=JETCLASS, resamples=5)
    for place, name in enumerate(JETCLASS[1:], 1):
        efficiency = {"Hqql": 0.99, "Tbl": 0.995}.get(name, 0.5)
        rows = (true == 0) | (true == place)
        discriminant = scores[rows, place] / (scores[rows, place] + scores[rows, 0])
        passed, kept, _ = metrics.roc_curve(
            true[rows] == place, discriminant, drop_intermediate=False
        )
        expected = passed[np.argmax(kept >= efficiency)]
        assert found.scores[f"rejection_{name}"] == pytest.approx(1 / expected)
        assert f"{100 * efficiency:g} %" in found.about[f"rejection_{name}"]
    assert "rejection_QCD" not in found.scores


def test_classes_without_qcd_have_no_rejection():
    true, scores = points(50, 5)
    found = look(true, scores, names=FIVE, resamples=5)
    assert not [name for name in found.scores if name.startswith("rejection")]
    assert set(found.scores) == set(found.about)
    assert found.matrices[0].labels == list(FIVE)


def test_the_interval_of_the_area_is_that_of_a_bootstrap_over_events():
    """Events differ in how well they are told, so points of one event are not independent."""
    rng = np.random.default_rng(5)
    events, size = 200, 20
    true = rng.integers(0, 3, (events, size))
    logits = rng.normal(size=(events, size, 3)) + 2 * rng.normal(size=(events, 1, 3))
    logits[np.arange(events)[:, None], np.arange(size), true] += 1
    scores = softmax(logits.reshape(-1, 3)).reshape(logits.shape)

    def area(chosen):
        return metrics.roc_auc_score(
            true[chosen].ravel(), scores[chosen].reshape(-1, 3), multi_class="ovo"
        )

    drawn = [area(rng.integers(0, events, events)) for _ in range(150)]
    found = look(
        true.ravel(), scores.reshape(-1, 3), np.arange(0, events * size + 1, size), resamples=5
    )
    low, high = found.intervals["auc"]
    assert (high - low) / 2 == pytest.approx(np.std(drawn), rel=0.2)


def test_intervals_over_events_are_wider_than_over_points_that_are_alike():
    true, scores = points(100, 3)
    true, scores = np.repeat(true, 20), np.repeat(scores, 20, axis=0)
    by_event = look(true, scores, np.arange(0, 2001, 20))
    alone = look(true, scores)
    for name in ("accuracy", "macro_f1", "auc", "log_loss"):
        wide, narrow = (np.diff(each.intervals[name])[0] for each in (by_event, alone))
        assert wide == pytest.approx(np.sqrt(20) * narrow, rel=0.35)


def test_very_many_jets_are_drawn_in_groups_with_the_same_interval():
    """Jets in the order of their classes, as files have them."""
    true, scores = points(40_000, 2)
    order = np.argsort(true, kind="stable")
    found = look(true[order], scores[order], resamples=300)
    p = found.scores["accuracy"]
    low, high = found.intervals["accuracy"]
    assert (high - low) / 2 == pytest.approx(np.sqrt(p * (1 - p) / 40_000), rel=0.15)


def test_intervals_hold_the_truth_as_often_as_they_say():
    large = look(*points(200_000, 2, seed=99), resamples=5).scores
    names = ("accuracy", "macro_f1", "auc", "log_loss", "rejection_50")
    inside = dict.fromkeys(names, 0)
    for seed in range(100):
        found = look(*points(500, 2, seed=seed), resamples=200)
        for name in names:
            low, high = found.intervals[name]
            inside[name] += low <= large[name] <= high
    assert all(55 <= hits <= 82 for hits in inside.values()), inside


def test_the_seed_decides_the_intervals():
    true, scores = points(50, 3)
    first, again, other = (look(true, scores, seed=seed) for seed in (1, 1, 2))
    assert first.intervals == again.intervals
    assert first.intervals != other.intervals


def test_single_precision_will_do():
    true, scores = points(500, 5)
    one, other = (look(true, scores.astype(each)).scores for each in (np.float32, np.float64))
    assert one == pytest.approx(other, rel=1e-4)


def test_nothing_is_warned_of_where_a_class_is_missing():
    _, scores = points(50, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = look(np.full(50, 3), scores, names=JETCLASS)
    assert np.isnan(found.scores["auc"])
    assert np.isnan(found.scores["rejection_Hbb"])


GOOD = np.full((20, 2), 0.5)
TRUE = np.zeros(20, int)


def with_row(row, values):
    changed = GOOD.copy()
    changed[row] = values
    return changed


@pytest.mark.parametrize(
    ("true", "probabilities", "offsets", "message"),
    [
        (TRUE, with_row(17, np.nan), None, r"probabilities: row 17 holds \[nan nan\]; expected"),
        (TRUE, with_row(3, (-0.2, 1.2)), None, r"probabilities: row 3 holds .* from 0 to 1"),
        (TRUE, with_row(4, (0.9, 0.9)), None, "sum of probabilities: row 4 holds 1.8; expected 1"),
        (TRUE + 2, GOOD, None, r"true: row 0 holds 2; expected a class from 0 to 1 \(c0, c1\)"),
        (TRUE - 1, GOOD, None, "true: row 0 holds -1"),
        (TRUE[:5], GOOD, None, r"probabilities: float64 of shape \(20, 2\); expected \(5, 2\)"),
        (TRUE[:0], GOOD[:0], None, r"true: int64 of shape \(0,\); expected \(N,\) classes of one"),
        (TRUE.reshape(20, 1), GOOD, None, r"true: int64 of shape \(20, 1\)"),
        (TRUE + 0.5, GOOD, None, r"true: float64 of shape \(20,\); expected integers"),
        (TRUE, GOOD, np.array([0, 19]), "offsets: expected to rise from 0 to 20"),
        (TRUE, GOOD[:, :1] * 2, None, r"names: \['c0'\]; expected two classes or more"),
    ],
)
def test_what_are_no_probabilities_of_classes_is_refused(true, probabilities, offsets, message):
    with pytest.raises(ValueError, match=message):
        look(true, probabilities, offsets)


def test_names_are_of_as_many_classes():
    with pytest.raises(ValueError, match=r"probabilities: .*\(20, 3\), a row for each true class"):
        look(TRUE, GOOD, names=["a", "b", "c"])


def test_twice_the_points_take_about_twice_as_long():
    def seconds(count):
        true, scores = points(count, 5)
        offsets = np.arange(0, count + 1, 100)
        found = []
        for _ in range(3):
            began = time.process_time()
            look(true, scores, offsets, names=FIVE, resamples=100)
            found.append(time.process_time() - began)
        return min(found)

    assert seconds(200_000) < 3.5 * seconds(100_000)
