"""Forecasts: what they learn from a campaign's own jobs, and how often they hold."""

import math
import random
from dataclasses import replace

import pytest
from soak.forecasts import one, planned

from pipeline.planning.plan import PILOT
from pipeline.rehearsal import rehearse
from pipeline.rehearsal.forecast import WAITS_SIGMA, _factors, _interval, forecast
from pipeline.rehearsal.machine import HOUR
from pipeline.rehearsal.snapshot import Rates, StartState
from pipeline.site import load_site


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return planned(tmp_path_factory.mktemp("forecast"), "perlmutter")


def snapshot_at(plan, moment, rates=None, seed=5):
    """What is to be seen at a share of a campaign's time, and the whole of it."""
    truth = rehearse(plan, seed, rates=rates)
    found = []
    rehearse(plan, seed, rates=rates, polls={moment * truth.hours: found.append})
    return found[0], truth


def test_a_look_changes_nothing(plan):
    truth = rehearse(plan, 2)
    looked = rehearse(plan, 2, polls={truth.hours / 3: lambda _: None})
    assert (looked.hours, looked.node_hours) == (truth.hours, truth.node_hours)


def test_before_anything_ran_the_assumptions_stand(plan):
    snapshot, _ = snapshot_at(plan, 0.0)
    told = forecast(plan, snapshot, samples=6)
    assert told.rates == Rates()
    assert told.spent_node_hours == 0
    assert told.node_hours.low < told.node_hours.middle < told.node_hours.high


@pytest.mark.parametrize("work", [0.6, 1.5])
def test_the_pace_of_trainings_is_learnt(plan, work):
    snapshot, truth = snapshot_at(plan, 0.6, Rates(work=work))
    told = forecast(plan, snapshot, samples=6)
    assert told.rates.work == pytest.approx(work, rel=0.1)
    assert told.node_hours.middle == pytest.approx(truth.node_hours, rel=0.1)
    assert told.spent_node_hours < truth.node_hours


def test_the_waits_of_a_queue_are_learnt(plan):
    quick, slow = (
        forecast(plan, snapshot_at(plan, 0.8, Rates(waits=factor))[0], samples=5).rates.waits
        for factor in (0.2, 5.0)
    )
    assert quick < 0.7
    assert slow > 1.5


def test_jobs_that_still_wait_say_that_a_queue_is_slow():
    over = [(math.log(0.5), True)] * 3
    waiting = [(math.log(4.0), False)] * 5
    told = _factors(over + waiting)
    assert sum(told.values()) == pytest.approx(1)
    slow, quick = (
        sum(u * weight for u, weight in _factors(each).items()) for each in (over + waiting, over)
    )
    assert quick < 0 < slow


def test_a_queue_of_which_nothing_is_known_is_as_was_assumed():
    told = _factors([])
    assert sum(u * weight for u, weight in told.items()) == pytest.approx(0, abs=1e-9)
    spread = math.sqrt(sum(u**2 * weight for u, weight in told.items()))
    assert spread == pytest.approx(WAITS_SIGMA, rel=0.02)


@pytest.mark.parametrize("count", [5, 20, 40, 100])
def test_an_interval_holds_what_it_says_with_its_confidence(count):
    """Of outcomes of any distribution, here an even one, where the share between is known."""
    dice = random.Random(count)
    held = 0
    for _ in range(2000):
        interval = _interval([dice.random() for _ in range(count)])
        held += interval.high - interval.low >= 0.8
    if count >= 20:  # of fewer, all together hold less surely
        assert held / 2000 > 0.78
    assert held / 2000 < 0.96


def test_what_is_done_is_not_rehearsed_again(plan):
    snapshot, _ = snapshot_at(plan, 0.8)
    done = {key for key, share in snapshot.shares.items() if share == 1}
    assert done
    rest = rehearse(plan, 1, start=snapshot.start)
    assert not done & {each.task for each in rest.accounts}
    whole = rehearse(plan, 1)
    assert rest.node_hours < whole.node_hours


def test_a_running_job_goes_on_and_a_waiting_one_has_waited(plan):
    snapshot, _ = snapshot_at(plan, 0.4)
    start = snapshot.start
    assert start.running
    assert not start.running & start.waited.keys()
    rest = rehearse(plan, 1, start=start)
    begun = {}
    for each in rest.accounts:
        if each.start is not None:
            begun[each.task] = min(each.start, begun.get(each.task, math.inf))
    first = min(begun.values())
    assert all(begun[key] - first < HOUR for key in start.running if key in begun)


def test_pilots_that_wait_have_waited_and_those_that_run_go_on(plan):
    snapshot, _ = snapshot_at(plan, 0.05)
    assert snapshot.start.pilots[PILOT]
    months = 90 * 24 * HOUR
    waits = {
        waited: rehearse(plan, 1, start=replace(StartState(), pilots={PILOT: [waited]})).hours
        for waited in (None, months)
    }
    assert waits[None] < waits[months]


def test_where_only_some_jobs_may_wait_their_time_says_nothing_of_the_queue(plan):
    snapshot, _ = snapshot_at(plan, 0.6, Rates(waits=5.0))
    capped = plan.site.model_copy(update={"eligible_jobs": 4})
    assert forecast(replace(plan, site=capped), snapshot, samples=5).rates.waits == 1.0


def test_intervals_hold_about_as_often_as_they_say(plan):
    """A few campaigns here; a hundred in docs/measured/forecasts.md."""
    came_true = [told for seed in range(4) for *_, told, _ in one(plan, seed, samples=8)]
    assert len(came_true) == 24
    assert sum(came_true) > 12


def test_rates_scale_what_a_site_declares():
    site = Rates(waits=2.0, failures=3.0).of(load_site("perlmutter"))
    before = load_site("perlmutter")
    assert site.mean_wait_hours(1, "regular") == 2 * before.mean_wait_hours(1, "regular")
    assert site.mean_wait_hours(1, "premium") == 2 * before.mean_wait_hours(1, "premium")
    assert site.node_failures == 3 * before.node_failures
