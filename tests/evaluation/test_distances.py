"""Distances of two samples: nothing between equal ones, a shift is its own length."""

import numpy as np
import pytest

from pipeline.evaluation.distances import quantile_divergence, wasserstein, with_interval


def normal(seed=0, mean=0.0, size=4000):
    return np.random.default_rng(seed).normal(mean, 1, size)


def test_equal_samples_are_nowhere_apart():
    assert quantile_divergence(normal(), normal()) == 0
    assert wasserstein(normal(), normal()) == 0


@pytest.mark.parametrize("shift", [0.5, -2.0])
def test_the_wasserstein_distance_of_a_shifted_sample_is_the_shift(shift):
    assert wasserstein(normal(), normal() + shift) == pytest.approx(abs(shift))


def test_the_divergence_of_two_normals_is_half_the_square_of_their_distance():
    found = quantile_divergence(normal(1, size=200_000), normal(2, 0.3, size=200_000), bins=50)
    assert found == pytest.approx(0.3**2 / 2, rel=0.1)


def test_values_beyond_the_edges_are_missed_in_the_bins():
    true = normal()
    half_away = np.concatenate([true, np.full(len(true), 100.0)])
    assert quantile_divergence(true, half_away) == pytest.approx(0.998 * np.log(2), rel=0.01)


def test_integers_and_equal_values_have_bins_too():
    few = np.random.default_rng(0).integers(0, 4, 1000)
    assert quantile_divergence(few, few) == 0
    assert quantile_divergence(few, few + 1) > 0.1
    assert quantile_divergence(np.ones(5), np.ones(5)) == 0


def test_a_sample_without_values_is_refused():
    with pytest.raises(ValueError, match="has no distance"):
        wasserstein(normal(), np.array([np.nan]))
    with pytest.raises(ValueError, match="has no distance"):
        quantile_divergence(np.array([]), normal())


@pytest.mark.parametrize("size", [500, 60_000])
def test_the_interval_has_the_width_of_many_repetitions(size):
    """Of a shift that is larger than the noise; more than 50,000 values are drawn in part."""
    samples = [(normal(seed, size=size), normal(seed + 100, 0.5, size=size)) for seed in range(30)]
    found = [wasserstein(*each) for each in samples]
    value, (low, high) = with_interval(wasserstein, *samples[0], seed=1, resamples=50)
    assert value == found[0]
    assert low < value < high
    assert (high - low) / 2 == pytest.approx(np.std(found), rel=0.5)


def test_a_large_sample_does_not_make_a_small_one_certain():
    small, large = normal(1, 0.5, size=500), normal(2, size=100_000)
    _, (low, high) = with_interval(wasserstein, large, small, seed=1, resamples=100)
    assert (high - low) / 2 == pytest.approx(1 / np.sqrt(500), rel=0.25)


def test_a_distance_has_no_interval_below_zero():
    value, (low, high) = with_interval(quantile_divergence, normal(), normal(), seed=1)
    assert value == low == 0
    assert 0 < high < 0.05


def test_the_seed_decides_the_interval():
    samples = normal(1, size=200), normal(2, size=200)
    first, again, other = (with_interval(wasserstein, *samples, seed=each) for each in (1, 1, 2))
    assert first == again != other


def test_an_empty_sample_has_no_interval_either():
    with pytest.raises(ValueError, match="has no distance"):
        with_interval(wasserstein, np.array([]), normal(), seed=1)
