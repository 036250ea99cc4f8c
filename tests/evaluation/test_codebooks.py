"""How many codes are used, and samples that can or cannot be told apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from pipeline.evaluation.codebooks import class_accuracy, perplexity, two_sample_auc, usage


def test_codes_used_and_their_perplexity_by_hand():
    counts = np.array([4, 2, 2, 0, 0, 0, 0, 0])
    assert usage(counts) == 3 / 8
    assert perplexity(counts) == pytest.approx(2**1.5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_the_perplexity_is_the_exponential_of_scipy_s_entropy(codes):
    counts = np.bincount(codes, minlength=10)
    told = perplexity(counts)
    assert told == pytest.approx(np.exp(entropy(counts)))
    assert 1 - 1e-9 <= told <= 10 * usage(counts) + 1e-9


def test_all_codes_equally_often_are_all_of_them():
    counts = np.full(512, 3)
    assert usage(counts) == 1
    assert perplexity(counts) == pytest.approx(512)


def test_no_code_at_all_is_as_varied_as_one():
    assert perplexity(np.zeros(8, int)) == 1


def normal(samples, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (samples, 3))


def test_samples_of_one_distribution_cannot_be_told_apart():
    assert two_sample_auc(normal(1000, 1), normal(800, 2), seed=1) == pytest.approx(0.5, abs=0.05)


def test_shifted_samples_are_told_apart_as_well_as_can_be():
    """The best score of two normals a distance d apart has the area Φ(d/√2)."""
    found = two_sample_auc(normal(4000, 1), normal(4000, 2, shift=1 / np.sqrt(3)), seed=1)
    assert found == pytest.approx(0.760, abs=0.04)


def test_samples_of_another_kind_are_always_told_apart():
    assert two_sample_auc(normal(200, 1), normal(200, 2, shift=10), seed=1) > 0.99


def test_the_seed_decides():
    samples = normal(300, 1), normal(300, 2)
    assert two_sample_auc(*samples, seed=3) == two_sample_auc(*samples, seed=3)


@pytest.mark.parametrize(
    ("real", "made", "message"),
    [
        (np.zeros((9, 2)), np.zeros((9, 3)), r"real \(9, 2\) and made \(9, 3\); expected \(N, F\)"),
        (np.zeros(9), np.zeros(9), r"real \(9,\) and made \(9,\)"),
        (np.zeros((9, 2)), np.zeros((4, 2)), "9 real and 4 made samples; expected 5 or more"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(real, made, message):
    with pytest.raises(ValueError, match=message):
        two_sample_auc(real, made, seed=1)


def test_a_class_that_a_feature_tells_is_told_and_one_of_noise_is_guessed():
    rng = np.random.default_rng(0)
    label = np.repeat([3, 7], 200)
    features = rng.normal(size=(400, 3))
    guessed = class_accuracy(features, label, seed=1)
    features[:, 1] += 6 * (label == 7)
    assert class_accuracy(features, label, seed=1) > 0.98
    assert abs(guessed - 0.5) < 0.1


def test_one_class_is_no_task():
    with pytest.raises(ValueError, match="1 classes, the least with 9 samples; expected two"):
        class_accuracy(np.zeros((9, 2)), np.zeros(9, int), seed=1)
