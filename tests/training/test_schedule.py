import math

import pytest

from pipeline.campaign import Training
from pipeline.training.schedule import learning_rate

PEAK, FINAL = 1e-3, 1e-5


def training(batch_events=8, warmup_events=80, events_seen=800):
    return Training(
        events_seen=events_seen,
        batch_events=batch_events,
        learning_rate=PEAK,
        final_learning_rate=FINAL,
        warmup_events=warmup_events,
        checkpoint_events=100,
        walltime_minutes=1,
    )


def test_it_warms_up_linearly_to_the_peak():
    assert learning_rate(training(), 0) == pytest.approx(PEAK * 8 / 80)
    assert learning_rate(training(), 36) == pytest.approx(PEAK * 44 / 80)
    assert learning_rate(training(), 72) == pytest.approx(PEAK)
    assert learning_rate(training(), 80) == pytest.approx(PEAK)


def test_it_never_exceeds_the_peak():
    rates = [learning_rate(training(batch_events=7), seen) for seen in range(0, 800, 7)]
    assert max(rates) <= PEAK * (1 + 1e-12)


def test_half_way_down_the_cosine_is_the_mean_of_both_ends():
    assert learning_rate(training(), 440) == pytest.approx((PEAK + FINAL) / 2)


def test_it_ends_at_the_final_rate_and_stays_there():
    assert learning_rate(training(), 800) == pytest.approx(FINAL)
    assert learning_rate(training(), 9999) == pytest.approx(FINAL)


def test_without_warm_up_it_starts_at_the_peak():
    assert learning_rate(training(warmup_events=0), 0) == PEAK


@pytest.mark.parametrize("seen", [80, 160, 333, 640])
def test_after_warm_up_the_batch_size_makes_no_difference(seen):
    rates = {learning_rate(training(batch_events=n), seen) for n in (1, 8, 40)}
    assert len(rates) == 1


def test_a_training_that_only_warms_up_stays_finite():
    assert math.isfinite(learning_rate(training(warmup_events=800), 800))
