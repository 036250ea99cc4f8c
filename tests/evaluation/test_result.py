"""What an probe finds: bins that fit the truth, and intervals of means."""

import json
import math

import numpy as np
import pytest
from made_results import reread

from pipeline.evaluation.result import (
    Curve,
    EvaluationResult,
    Histogram,
    Matrix,
    histogram,
    mean_interval,
)


def test_all_values_are_counted_whatever_lies_outside():
    true = np.random.default_rng(1).normal(size=1000)
    found = histogram("x", true, np.array([-1e9, 0.0, 1e9, np.nan]))
    assert sum(found.true) == 1000
    assert (found.made[0], found.made[-1], sum(found.made)) == (1, 1, 3)


def test_each_of_a_few_whole_numbers_has_a_bin():
    found = histogram("tracks", np.array([3, 4, 4, 6]), np.array([4, 5]))
    assert found.edges == [2.5, 3.5, 4.5, 5.5, 6.5]
    assert found.true == [1, 2, 0, 1]
    assert found.made == [0, 1, 1, 0]


def test_values_that_are_all_the_same_have_a_bin_around_them():
    found = histogram("x", np.full(5, 0.25), np.full(3, 0.25))
    assert sum(found.true) == 5
    assert found.edges[0] < 0.25 < found.edges[-1]


def test_a_histogram_of_nothing_is_refused():
    with pytest.raises(ValueError, match="histogram of x: no true value"):
        histogram("x", np.array([np.nan]), np.array([1.0]))


def test_the_interval_holds_the_standard_error_of_a_mean():
    values = np.random.default_rng(2).normal(3.0, 2.0, 400)
    low, high = mean_interval(values, np.ones(400), seed=1)
    assert (high - low) / 2 == pytest.approx(2.0 / 20, rel=0.2)
    assert low < values.mean() < high
    assert (low, high) == mean_interval(values, np.ones(400), seed=1)


def test_what_is_no_number_is_null_in_the_file_and_none_again_when_read(tmp_path):
    look = EvaluationResult({"a": float("nan"), "b": 1.0}, {"b": (0.5, 1.5)}, histograms=[_one()])
    result, pictures = reread(look, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["scores"] == {"a": None, "b": 1.0}
    assert math.isnan(result.scores["a"])
    assert result.scores["b"] == 1.0
    assert result.intervals == {"b": (0.5, 1.5)}
    assert pictures.histograms[0].edges == [0.0, 1.0]


def test_curves_and_matrices_are_recorded_too(tmp_path):
    curve = Curve("ROC", "signal", "background", [0.5, 1.0], [9.0, 1.0], [8.0, 1.0], [10.0, 1.0])
    look = EvaluationResult(
        {}, curves=[curve], matrices=[Matrix("confusion", ["a", "b"], [[3, 1], [0, 2]])]
    )
    _, pictures = reread(look, tmp_path)
    assert pictures.curves == (curve,)
    assert pictures.matrices == (Matrix("confusion", ["a", "b"], [[3, 1], [0, 2]]),)


def test_an_interval_without_an_end_keeps_its_beginning_and_one_without_a_beginning_is_none(
    tmp_path,
):
    endless, nowhere = (0.5, math.inf), (math.inf, math.inf)
    look = EvaluationResult({"a": 1.0, "b": 1.0}, {"a": endless, "b": nowhere})
    assert reread(look, tmp_path)[0].intervals == {"a": endless}


@pytest.mark.parametrize("columns", [([1.0], []), ([1.0], [1.0], [0.5]), ([1.0], [1.0], [], [2.0])])
def test_a_curve_of_unequal_columns_is_refused(columns):
    with pytest.raises(ValueError, match=r"curve c: x, y, low, high of .* expected as many"):
        Curve("c", "x", "y", *columns)


def _one():
    return Histogram("x", "GeV", [0.0, 1.0], [3], [4])
