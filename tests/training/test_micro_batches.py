"""Micro-batches: every event once and with the same weight, at any number of processes."""

from fractions import Fraction

import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.campaign import Training
from pipeline.data.errors import BadInput
from pipeline.training.steps.micro_batches import (
    accumulation_steps,
    events_per_process,
    micro_batches,
)

FOR_ALL = settings(deadline=None)


def training(batch_events, devices=1, micro_events=None):
    """Return a training with these batches."""
    return Training(
        events_seen=batch_events,
        batch_events=batch_events,
        micro_events=micro_events,
        learning_rate=1e-3,
        checkpoint_events=1,
        devices=devices,
        walltime_minutes=1,
    )


@st.composite
def divided(draw):
    """Return a training, and a number of processes that can share its batches."""
    batch_events = draw(st.integers(1, 150))
    devices = draw(st.integers(1, batch_events))
    micro_events = draw(st.none() | st.integers(1, 40))
    declared = training(batch_events, devices, micro_events)
    return declared, draw(st.integers(1, declared.lanes))


@FOR_ALL
@given(divided())
def test_each_requested_device_has_a_lane(case):
    declared, _ = case
    assert declared.batch_events % declared.lanes == 0
    assert declared.devices <= declared.lanes


@FOR_ALL
@given(divided())
def test_every_event_of_the_batch_counts_once_and_alike(case):
    declared, ranks = case
    per_rank = [micro_batches(declared, rank, ranks) for rank in range(ranks)]
    count = accumulation_steps(declared, ranks)
    events = [events_per_process(declared, rank, ranks) for rank in range(ranks)]
    assert sum(events) == declared.batch_events
    for rank, mine in enumerate(per_rank):
        taken = [event for each in mine if each.weight for event in range(each.start, each.stop)]
        assert taken == list(range(events[rank]))
        assert len(mine) == count
        for each in mine:
            assert 1 <= each.events <= (declared.micro_events or declared.batch_events)
            if each.weight:
                share = Fraction(each.weight) / ranks / count / each.events
                assert float(share * declared.batch_events) == pytest.approx(1, rel=1e-12)


@FOR_ALL
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))
def test_where_all_divides_every_weight_is_exactly_one(ranks, count, micro_events):
    declared = training(ranks * count * micro_events, ranks, micro_events)
    assert declared.lanes % ranks == 0
    found = [each for rank in range(ranks) for each in micro_batches(declared, rank, ranks)]
    assert {(each.events, each.weight) for each in found} == {(micro_events, 1.0)}


def test_a_process_with_fewer_events_repeats_one_that_does_not_count():
    first, last = (micro_batches(training(4, micro_events=1), rank, 3) for rank in (0, 2))
    assert [(p.start, p.stop, p.weight) for p in first] == [(0, 1, 1.5), (1, 2, 1.5)]
    assert [(p.start, p.stop, p.weight) for p in last] == [(0, 1, 1.5), (0, 1, 0.0)]


def test_more_processes_than_lanes_are_refused():
    with pytest.raises(
        BadInput, match=r"9 processes .* 8 events in 8 lanes: .* at most 8 processes"
    ):
        events_per_process(training(8), 0, 9)
