import json

import numpy as np
import pytest

from pipeline.evaluation.matching import Rule
from pipeline.evaluation.tracking import evaluate_events


def scores(*events, **options):
    true = np.array([t for event in events for t, _ in event], np.int32)
    predicted = np.array([p for event in events for _, p in event], np.int32)
    offsets = np.cumsum([0, *(len(event) for event in events)])
    return evaluate_events(true, predicted, offsets, **options)


def tracks(*rows):
    return [(true, predicted) for true, predicted, points in rows for _ in range(points)]


PERFECT = tracks((1, 3, 10), (2, 7, 10))
MERGED = tracks((1, 1, 5), (2, 1, 5))
NOISY = tracks((1, 1, 10), (2, 2, 10), (0, 1, 2), (0, 2, 2))


def test_perfect_tracks_score_one_everywhere():
    perfect = scores(PERFECT, PERFECT)
    names = ("ari", "ari_particles", "ari_pooled", "track_efficiency", "track_purity")
    assert [getattr(perfect, name) for name in names] == [1.0] * 5
    assert (perfect.hit_efficiency, perfect.hit_purity) == (1, 1)
    assert (perfect.fake_rate, perfect.duplicate_rate) == (0, 0)
    assert perfect.ari_interval == (1, 1)
    assert (perfect.events, perfect.points) == (2, 40)


def test_the_mean_over_events_is_not_the_pooled_index():
    mixed = scores(PERFECT, MERGED)
    assert mixed.ari_per_event == pytest.approx([1, 0])
    assert mixed.ari == pytest.approx(0.5)
    assert mixed.ari_pooled > 0.8


def test_noise_counts_as_one_class_unless_left_out():
    noisy = scores(NOISY)
    assert noisy.ari < 1
    assert noisy.ari_particles == 1
    assert noisy.track_purity == 1
    assert noisy.hit_purity == pytest.approx(10 / 12)


def test_ratios_are_of_sums_so_that_a_large_event_weighs_more():
    good = tracks(*((n, n, 5) for n in range(1, 10)))
    assert scores(good, tracks((1, 0, 5))).track_efficiency == pytest.approx(0.9)


def test_an_interval_holds_the_mean_and_is_the_same_each_time():
    events = [PERFECT, MERGED, NOISY] * 10
    first, again = scores(*events), scores(*events)
    low, high = first.ari_interval
    assert low < first.ari < high
    assert first.ari_interval == again.ari_interval
    assert scores(*events, seed=2).ari_interval != first.ari_interval
    low, high = first.track_efficiency_interval
    assert low < first.track_efficiency < high


def test_the_interval_has_the_width_of_the_standard_error():
    events = [PERFECT, MERGED] * 100
    low, high = scores(*events, resamples=2000).ari_interval
    assert (high - low) / 2 == pytest.approx(0.5 / np.sqrt(200), rel=0.1)


def test_negative_true_ids_are_particles_too():
    material = scores(tracks((-4, 1, 5), (4, 2, 5)))
    assert material.track_efficiency == 1
    assert material.ari == 1


def test_where_nothing_can_be_divided_the_score_is_none_in_json():
    empty = scores(tracks((0, 0, 4)))
    assert np.isnan(empty.track_efficiency)
    summary = json.loads(json.dumps(empty.summary(), allow_nan=False))
    assert summary["track_efficiency"] is None
    assert summary["ari_particles"] is None
    assert summary["track_purity_interval"] == [None, None]
    assert summary["ari"] == 1.0


def test_the_summary_holds_the_rule_and_no_arrays():
    summary = scores(PERFECT, rule=Rule(style="ATLAS")).summary()
    assert summary["rule"]["style"] == "ATLAS"
    assert not any("per_event" in name for name in summary)


@pytest.mark.parametrize(
    ("true", "predicted", "offsets", "message"),
    [
        ([1.0], [1], [0, 1], r"true: float64 of shape \(1,\); expected \(P,\) integers"),
        ([1], [[1]], [0, 1], r"predicted: int64 of shape \(1, 1\)"),
        ([1], [-1], [0, 1], r"predicted: holds -1; expected 0 for unassigned"),
        ([1, 2], [1], [0, 2], r"2 true ids and 1 predicted ids; one per point expected"),
        ([1], [1], [0], r"offsets: expected to rise from 0 to 1 over one event or more"),
        ([1], [1], [0, 2], r"offsets: expected to rise from 0 to 1"),
        ([1], [1], [0, 5, 1], r"offsets: expected to rise"),
    ],
)
def test_arrays_that_are_no_ids_of_events_are_refused(true, predicted, offsets, message):
    with pytest.raises(ValueError, match=message):
        evaluate_events(np.array(true), np.array(predicted), np.array(offsets))
