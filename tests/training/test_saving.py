"""When to save: what costs least, and in time."""

import math

import pytest

pytest.importorskip("torch")

from ranks import training

from pipeline.training.link.here import Link
from pipeline.training.steps.saving import (
    LONGEST_INTERVAL_SECONDS,
    UNMEASURED_SAVE_SECONDS,
    Action,
    Saving,
    interval_seconds,
)

DAY = 86400


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def saving(link=None, branch_points=(), **changes):
    clock = Clock()
    return Saving(training(**changes), link or Link(), branch_points, clock), clock


@pytest.mark.parametrize(
    ("failures", "nodes", "save_seconds", "minutes"),
    [(6.5, 64, 60, 83), (6.5, 184, 30, 35), (6.5, 184, 300, 110), (20, 64, 60, 47)],
)
def test_young_s_intervals_are_those_of_the_literature_s_rates(
    failures, nodes, save_seconds, minutes
):
    mean = 1000 * DAY / (failures * nodes)
    young = math.sqrt(2 * save_seconds * mean)
    assert young / 60 == pytest.approx(minutes, rel=0.03)
    # Daly's correction is small here, and both are cut at half an hour.
    assert interval_seconds(save_seconds, mean) == LONGEST_INTERVAL_SECONDS


def test_where_nodes_fail_often_the_interval_costs_least():
    save, mean = 20.0, 3600.0

    def waste(interval):
        """Daly's model: share of time in saves and in work done again, exponential failures."""
        return mean * (math.exp((interval + save) / mean) - 1) / interval

    chosen = interval_seconds(save, mean)
    assert chosen < LONGEST_INTERVAL_SECONDS
    assert waste(chosen) <= 1.0005 * min(waste(second) for second in range(10, 3600))


def test_where_a_save_takes_longer_than_nodes_live_it_is_their_life():
    assert interval_seconds(100.0, 40.0) == 40.0


def test_without_a_rate_of_failures_half_an_hour_is_lost_at_most():
    assert interval_seconds(1.0, None) == LONGEST_INTERVAL_SECONDS


def test_marks_of_events_the_end_and_branch_points_are_saved():
    policy, _ = saving(branch_points=(28,))
    actions = {seen: policy.action(seen, stop=False) for seen in range(4, 244, 4)}
    due = {seen for seen, action in actions.items() if action == Action.SAVE}
    assert due == {*range(20, 241, 20), 28}
    assert set(actions.values()) == {Action.SAVE, Action.GO_ON}


def test_without_marks_the_clock_decides_by_what_a_save_takes():
    link = Link(nodes=1000, node_failures=500.0)
    policy, clock = saving(link, checkpoint_events=None)
    first = interval_seconds(UNMEASURED_SAVE_SECONDS, link.mean_seconds_to_failure)
    clock.now += first - 1
    assert policy.action(4, stop=False) == Action.GO_ON
    clock.now += 2
    assert policy.action(8, stop=False) == Action.SAVE
    policy.saved(0.1)
    shorter = interval_seconds(0.1, link.mean_seconds_to_failure)
    assert shorter < first / 2
    clock.now += shorter - 0.01
    assert policy.action(12, stop=False) == Action.GO_ON
    clock.now += 0.02
    assert policy.action(16, stop=False) == Action.SAVE


def test_on_request_it_stops():
    policy, _ = saving()
    assert policy.action(4, stop=True) == Action.STOP


def test_before_the_walltime_it_stops_while_three_saves_fit():
    policy, clock = saving(Link(started=1000.0, ends=1600.0))
    policy.stepped(10.0)
    policy.saved(30.0)
    clock.now = 1600 - (3 * 30 + 2 * 10 + 5) - 1
    assert policy.action(4, stop=False) == Action.GO_ON
    clock.now += 2
    assert policy.action(4, stop=False) == Action.STOP


def test_a_link_without_walltime_never_ends_by_itself():
    policy, clock = saving()
    policy.saved(30.0)
    clock.now += 10 * DAY
    assert policy.action(4, stop=False) == Action.GO_ON
