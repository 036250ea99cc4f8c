"""Intervals: what is worked out is what resampling gives."""

import numpy as np
import pytest

from pipeline.evaluation.intervals import (
    MOST_GROUPS,
    groups,
    percentiles,
    quantiles_resampled,
    ratio_interval,
    resampled,
    weights,
)


def test_quantiles_are_those_of_real_resamples():
    rng = np.random.default_rng(1)
    values, levels = np.sort(rng.exponential(size=75)), (0.16, 0.5, 0.84)
    drawn = quantiles_resampled(values, levels, 20_000, seed=1)
    real = np.quantile(rng.choice(values, (20_000, 75)), levels, axis=1, method="inverted_cdf").T
    assert drawn.mean(0) == pytest.approx(real.mean(0), rel=0.01)
    assert np.cov(drawn.T) == pytest.approx(np.cov(real.T), rel=0.06)
    assert np.isin(drawn, values).all()


def test_quantiles_of_one_value_are_that_value():
    assert (quantiles_resampled(np.array([3.0]), (0.16, 0.5), 10, seed=1) == 3).all()


def test_as_many_events_are_drawn_as_there_are():
    assert [each.sum() for each in weights(7, 5, seed=1)] == [7] * 5


def test_sums_over_resamples_have_the_spread_of_a_sum():
    columns = np.random.default_rng(1).normal(size=(300, 2))
    drawn = resampled(columns, 4000, seed=1)
    assert drawn.mean(0) == pytest.approx(columns.sum(0), abs=1)
    assert drawn.std(0) == pytest.approx(np.sqrt(300) * columns.std(0), rel=0.05)


def test_events_are_grouped_by_lot_only_if_there_are_too_many():
    assert (groups(500, seed=1) == np.arange(500)).all()
    many = groups(3 * MOST_GROUPS, seed=1)
    assert (np.bincount(many) == 3).all()
    assert np.corrcoef(many, np.arange(len(many)))[0, 1] == pytest.approx(0, abs=0.03)


def test_what_is_no_number_has_no_percentile():
    assert percentiles(np.array([np.nan, 2.0])) == (2, 2)
    assert np.isnan(percentiles(np.array([np.nan]))).all()
    assert ratio_interval(np.array([1.0, 0.0]), np.array([2.0, 0.0])) == (0.5, 0.5)
