"""What pretraining gains, from the scores of several seeds or the intervals of one."""

import math
from dataclasses import replace

import pytest
from report_fixtures import evaluation

from pipeline.report.gains import comparisons
from pipeline.report.results import TaskResults
from pipeline.report.scores import settings


def told(*evaluations):
    task = evaluations[0].configuration.task
    result = TaskResults("tracking", task, evaluations, settings(evaluations))
    return list(comparisons(result))


def runs(mode, labels, scores, **more):
    """Evaluations of one setting, of seeds from 1 on, with intervals of ± 0.1."""
    start = {"pretraining_events": 500 if mode in ("full", "frozen") else None}
    return [
        evaluation(ari, seed, mode, labels, interval=(ari - 0.1, ari + 0.1), **start | more)
        for seed, ari in enumerate(scores, 1)
    ]


def test_seeds_are_compared_one_by_one():
    """The same seed has the same labels, so what they share cancels."""
    full, scratch = runs("full", 100, (0.50, 0.70, 0.91)), runs("scratch", 100, (0.40, 0.60, 0.80))
    (found,) = told(*full, *scratch)
    (gain,) = found.gains
    assert gain.gain == pytest.approx(0.31 / 3)
    assert gain.error == pytest.approx(0.01 / 3)
    assert gain.is_seen
    assert found.sentence == (
        "ARI, m0 pretrained on 500 events, full against scratch: "
        "pretraining gains 0.1033 ± 0.0033 at 100 labels (3 seeds)."
    )


def test_two_seeds_that_scatter_show_no_gain():
    """Of two, 95 % are 12.7 standard errors."""
    (found,) = told(*runs("full", 100, (0.50, 0.60)), *runs("scratch", 100, (0.45, 0.52)))
    assert not found.gains[0].is_seen
    assert found.sentence.endswith("no gain seen at 100 labels (+0.0650 ± 0.0150, 2 seeds).")


def test_one_seed_has_the_error_over_events():
    (found,) = told(*runs("frozen", 10, (0.3,)), *runs("head", 10, (0.5,)))
    (gain,) = found.gains
    assert gain.error == pytest.approx(math.hypot(0.1, 0.1))
    assert found.control == "head"
    assert found.sentence.endswith(
        "no gain seen at 10 labels (−0.2000 ± 0.1414, one seed: the error is over events, "
        "not over seeds)."
    )


def test_where_less_is_better_a_gain_is_less(monkeypatch):
    full, scratch = runs("full", 100, (0.1, 0.2, 0.3)), runs("scratch", 100, (0.2, 0.3, 0.41))
    task = type(full[0].configuration.task)
    monkeypatch.setattr(task, "SMALLER_IS_BETTER", frozenset({"ari"}))
    (found,) = told(*full, *scratch)
    assert found.gains[0].gain == pytest.approx(0.31 / 3)


def test_counts_of_labels_stand_in_one_sentence_and_others_are_not_compared():
    full = [*runs("full", 1000, (0.8, 0.8)), *runs("full", 100, (0.5, 0.6))]
    scratch = [*runs("scratch", 100, (0.4, 0.5)), *runs("scratch", 10, (0.1, 0.1))]
    (found,) = told(*full, *scratch, *runs("scratch", 1000, (0.7, 0.7)))
    assert [gain.labels for gain in found.gains] == [100, 1000]
    assert told(*runs("full", 100, (0.5,)), *runs("head", 100, (0.5,))) == []
    other = runs("scratch", 100, (0.5,), model="another")
    assert told(*runs("full", 100, (0.5,)), *other) == []


def test_a_score_that_is_no_number_is_no_gain():
    full = runs("full", 100, (math.nan,))
    assert told(*full, *runs("scratch", 100, (0.5,))) == []
    known = replace(full[0], result=full[0].result.model_copy(update={"intervals": {}}))
    assert told(known, *runs("scratch", 100, (0.5,))) == []
