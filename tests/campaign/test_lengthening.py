"""Up to where two lengths of a training are the same training."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaign import PretrainTask, Training
from pipeline.campaign.identity import differences
from pipeline.campaign.lengthening import common_events, why_not
from pipeline.families.deepsets.spec import DeepSets
from pipeline.training.steps.schedule import factor, first_beta

KEYS = {"events_seen": 800, "batch_events": 8, "learning_rate": 1e-3, "walltime_minutes": 1}
CONSTANT = {"schedule": "constant"}
TRAPEZOID = {"schedule": "trapezoid", "decay_events": 200}


def task(trunk: tuple[int, ...] = (), **changes: Any) -> PretrainTask:
    return PretrainTask(
        key="pretrain/m",
        seed=1,
        model=DeepSets(),
        store=Path("/store"),
        split="train",
        events=max(trunk, default=64),
        one_pass=bool(trunk),
        branch_points=trunk,
        training=Training(**{**KEYS, **changes}),
    )


def common(before: PretrainTask, now: PretrainTask) -> int:
    return common_events(before, now, differences(before, now))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (CONSTANT, CONSTANT | {"events_seen": 1600}, 800),
        (CONSTANT | {"events_seen": 803}, CONSTANT | {"events_seen": 1600}, 800),
        (CONSTANT | {"events_seen": 1600}, CONSTANT, 800),
        (CONSTANT, TRAPEZOID, 600),
        (TRAPEZOID, TRAPEZOID | {"events_seen": 1600}, 600),
        (TRAPEZOID, TRAPEZOID | {"decay_shape": "1-sqrt"}, 600),
        (TRAPEZOID, TRAPEZOID | {"decay_events": 300}, 496),
        (TRAPEZOID, TRAPEZOID | {"final_learning_rate": 1e-4}, 600),
        ({}, {"events_seen": 1600}, 0),
        (CONSTANT, CONSTANT | {"events_seen": 1600, "learning_rate": 2e-3}, 0),
        (CONSTANT, CONSTANT | {"events_seen": 1600, "warmup_events": 8}, 0),
    ],
)
def test_a_constant_rate_is_the_same_to_the_shorter_end_and_a_trapezoid_to_its_decay(
    before: dict[str, Any], now: dict[str, Any], expected: int
) -> None:
    assert common(task(**before), task(**now)) == expected


def test_a_trunk_may_have_other_branches() -> None:
    before = task((160, 320), events_seen=320, **CONSTANT)
    assert common(before, task((160, 240, 640), events_seen=640, **CONSTANT)) == 320
    other = before.model_copy(update={"split": "test"})
    assert common(before, other) == 0


def test_what_cannot_go_on_says_why() -> None:
    before, now = task(), task(events_seen=1600)
    told = why_not(before, now, differences(before, now))
    assert told == (
        "schedule 'cosine' of another length differs from its first step on; a constant one or a "
        "trapezoid would go on"
    )
    before, now = task(**TRAPEZOID), task(**TRAPEZOID | {"events_seen": 1600})
    told = why_not(before, now, differences(before, now))
    assert told == "it has no checkpoint of its first 600 events, up to which both are the same"
    now = task(**TRAPEZOID | {"learning_rate": 1e-2})
    assert why_not(before, now, differences(before, now)) == ""


@st.composite
def trainings(draw: st.DrawFn) -> Training:
    events = draw(st.integers(100, 400))
    decays = draw(st.booleans())
    kind: dict[str, Any] = CONSTANT
    if decays:
        shape = draw(st.sampled_from(["linear", "1-sqrt"]))
        kind = TRAPEZOID | {"decay_events": draw(st.integers(1, 60)), "decay_shape": shape}
    warm = {"warmup_events": 30, "batch_events": 7}
    return Training(**{**KEYS, **kind, **warm, "events_seen": events})


@given(trainings(), trainings())
def test_all_batches_up_to_there_have_the_same_rate(before: Training, now: Training) -> None:
    one, other = (task().model_copy(update={"training": each}) for each in (before, now))
    found = common(one, other)
    assert found > 0
    for seen in range(0, found, 7):
        assert factor(before, seen) == factor(now, seen)
        assert first_beta(before, seen) == first_beta(now, seen)
