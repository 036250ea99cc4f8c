"""Shares of a batch: every event once, every event alike, at any number of processes."""

from fractions import Fraction

import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.campaign import Training
from pipeline.data.errors import BadInput
from pipeline.training.steps.micro_batches import accumulation, held, parts

FOR_ALL = settings(deadline=None)


def training(batch_events, devices=1, micro_events=None):
    """A training with such batches."""
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
def shared(draw):
    """A training, and a number of processes that it can be shared by."""
    batch_events = draw(st.integers(1, 150))
    devices = draw(st.integers(1, batch_events))
    micro_events = draw(st.none() | st.integers(1, 40))
    asked = training(batch_events, devices, micro_events)
    return asked, draw(st.integers(1, asked.lanes))


@FOR_ALL
@given(shared())
def test_devices_asked_for_have_a_lane_each(case):
    asked, _ = case
    assert asked.batch_events % asked.lanes == 0
    assert asked.devices <= asked.lanes


@FOR_ALL
@given(shared())
def test_every_event_of_the_batch_counts_once_and_alike(case):
    asked, ranks = case
    several = [parts(asked, rank, ranks) for rank in range(ranks)]
    count = accumulation(asked, ranks)
    assert sum(held(asked, rank, ranks) for rank in range(ranks)) == asked.batch_events
    for rank, mine in enumerate(several):
        taken = [place for p in mine if p.weight for place in range(p.start, p.stop)]
        assert taken == list(range(held(asked, rank, ranks)))
        assert len(mine) == count
        for part in mine:
            assert 1 <= part.events <= (asked.micro_events or asked.batch_events)
            if part.weight:
                share = Fraction(part.weight) / ranks / count / part.events
                assert float(share * asked.batch_events) == pytest.approx(1, rel=1e-12)


@FOR_ALL
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))
def test_where_all_divides_every_weight_is_exactly_one(ranks, count, micro_events):
    asked = training(ranks * count * micro_events, ranks, micro_events)
    assert asked.lanes % ranks == 0
    several = [part for rank in range(ranks) for part in parts(asked, rank, ranks)]
    assert {(part.events, part.weight) for part in several} == {(micro_events, 1.0)}


def test_a_process_with_fewer_events_repeats_one_that_does_not_count():
    first, last = (parts(training(4, micro_events=1), rank, 3) for rank in (0, 2))
    assert [(p.start, p.stop, p.weight) for p in first] == [(0, 1, 1.5), (1, 2, 1.5)]
    assert [(p.start, p.stop, p.weight) for p in last] == [(0, 1, 1.5), (0, 1, 0.0)]


def test_more_processes_than_lanes_are_refused():
    with pytest.raises(
        BadInput, match=r"9 processes .* 8 events in 8 lanes: .* at most 8 processes"
    ):
        held(training(8), 0, 9)
