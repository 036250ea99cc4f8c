"""Whole campaigns on simulated sites, with our own planner, manager and chains."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import clock
from pipeline.budget.use import USEFUL
from pipeline.campaign import load_campaign
from pipeline.outcome import RunError
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.rehearsal import rehearse
from pipeline.rehearsal.policies import (
    Policy,
    by_outcome,
    is_same,
    lost_share,
    middle,
    plan_of,
    policies,
)
from pipeline.rehearsal.rehearse import TAKES
from pipeline.run import Run
from pipeline.site import load_site

CAMPAIGNS = Path(__file__).parent.parent / "campaigns"
WIDE = Path(__file__).parent.parent / "soak" / "wide.toml"


def planned(root, site="frontier", campaign=CAMPAIGNS / "ladder.toml", hours=10.0, **asked):
    """The plan of a campaign whose trainings are declared to take so many hours."""
    what = load_campaign(str(campaign))
    run = Run(root, what.name)
    tasks = [longer(each, round(60 * hours)) for each in what.tasks(run)]
    where = site if not isinstance(site, str) else load_site(site)
    return make_plan(tasks, run, where, RunOptions(project="nph000", **asked))


def longer(task, minutes):
    if task.stage not in ("pretrain", "finetune"):
        return task
    changed = task.training.model_copy(update={"walltime_minutes": minutes})
    return task.model_copy(update={"training": changed})


@pytest.fixture
def plan(tmp_path):
    return planned(tmp_path)


def trainings(told):
    return [each for each in told.accounts if each.stage == "pretrain"]


def test_every_training_is_done_in_links_that_the_site_grants(plan):
    told = rehearse(plan, 1)
    assert told.failed == {}
    by_task = {}
    for each in trainings(told):
        by_task.setdefault(each.task, []).append(each.seconds)
    assert len(by_task) == 3
    for seconds in by_task.values():
        worked = [each for each in seconds if each]
        assert len(worked) > 1
        assert max(worked) <= 2 * 3600  # Frontier's bin of one node
        assert sum(worked) > TAKES * 10 * 3600 * 0.8


def test_the_same_seed_is_the_same_rehearsal(plan):
    first, second, other = rehearse(plan, 1), rehearse(plan, 1), rehearse(plan, 2)
    hide = {"accounts": ()}
    assert replace(first, **hide) == replace(second, **hide)
    assert other.hours != first.hours


def test_what_is_charged_went_into_something(plan):
    told = rehearse(plan, 1)
    charged = sum(each.charged_node_hours for each in told.accounts)
    assert told.node_hours == pytest.approx(charged)
    assert sum(each.node_hours for each in told.uses) == pytest.approx(charged)
    assert sum(each.share for each in told.uses if each.into in USEFUL) > 0.5


def test_failing_nodes_cost_what_was_not_saved(tmp_path):
    calm = load_site("frontier").model_copy(update={"node_failures": 0.0})
    bad = calm.model_copy(update={"node_failures": 4000.0})  # one in six hours
    well, badly = (rehearse(planned(tmp_path, site), 3) for site in (calm, bad))
    assert not any(each.into.startswith("lost") for each in well.uses)
    assert any(each.into.startswith("lost") for each in badly.uses)
    assert badly.failed == {}
    assert badly.node_hours > well.node_hours


def test_what_fits_under_the_cap_is_done_and_the_rest_is_not_begun(tmp_path):
    whole = rehearse(planned(tmp_path, bundle="never"), 1)
    cap = whole.planned_node_hours * 0.75
    told = rehearse(planned(tmp_path, cap_node_hours=cap, bundle="never"), 1)
    assert told.node_hours <= cap
    (refused,) = told.failed.values()
    assert "for the whole chain" in refused
    assert len({each.task for each in trainings(told)}) == 2


def test_what_waits_for_hours_that_others_give_back_is_done_in_the_end(tmp_path):
    whole = rehearse(planned(tmp_path, hours=11, bundle="never"), 1)
    cap = 3 * 11 - 0.1  # they take less than planned
    told = rehearse(planned(tmp_path, hours=11, cap_node_hours=cap, bundle="never"), 1)
    assert told.failed == {}
    assert told.hours > whole.hours


def test_short_trainings_and_pilots_are_done_too(tmp_path):
    for site in ("frontier", "perlmutter"):
        told = rehearse(planned(tmp_path, site, WIDE, hours=0.05), 1)
        assert told.failed == {}
        done = {each.stage for each in told.accounts if each.state == "completed"}
        assert {"pretrain", "finetune", "evaluate", "tokenize"} & done >= {"pretrain", "evaluate"}


def test_pilots_of_minutes_are_long_enough_for_their_tasks(tmp_path):
    told = rehearse(planned(tmp_path, "testbed", CAMPAIGNS / "tiny.toml", hours=0.1), 1)
    assert told.failed == {}
    assert any(each.stage == "pilot" for each in told.accounts)


def test_a_queue_of_few_places_is_enough(tmp_path):
    told = rehearse(planned(tmp_path, "perlmutter", WIDE, hours=0.5, qos="premium"), 1)
    assert told.failed == {}


def test_a_campaign_that_cannot_go_on_says_so(plan, monkeypatch):
    monkeypatch.setattr("pipeline.rehearsal.pilots.Pool.advance", lambda _: None)
    with pytest.raises(RunError, match="frontier: no job is left, and none is submitted"):
        rehearse(plan, 1)


def test_the_time_of_the_machine_comes_back(plan):
    before = clock.time()
    rehearse(plan, 1)
    assert 0 <= clock.time() - before < 3600


def test_nothing_is_left_on_disk(plan, tmp_path):
    rehearse(plan, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_site_s_ways_are_its_paid_queues_by_the_ways_to_share():
    ways = policies(load_site("perlmutter"))
    assert {each.qos for each in ways} == {"regular", "preempt", "premium"}
    assert {each.bundle for each in ways} == {"never", "cheapest", "soonest"}
    assert len(policies(load_site("frontier"))) >= 3
    assert {each.trunk for each in policies(load_site("frontier"), (False, True))} == {False, True}


def test_a_way_that_the_site_refuses_says_why(tmp_path):
    what = load_campaign(str(CAMPAIGNS / "ladder.toml"))
    run, site = Run(tmp_path, what.name), load_site("perlmutter")
    policy = Policy("perlmutter", "nosuch", "never")
    told = plan_of(policy, what.tasks(run), run, site, project="m1", cap=None)
    assert isinstance(told, str)
    assert "nosuch" in told


def test_plans_are_the_same_if_their_jobs_are(tmp_path):
    plans = [planned(tmp_path, bundle=bundle) for bundle in ("soonest", "cheapest")]
    assert is_same(*plans)
    assert not is_same(plans[0], planned(tmp_path, hours=9))
    assert not is_same(plans[0], planned(tmp_path, qos="extended"))
    assert not is_same(plans[0], planned(tmp_path, bundle="never")), "none shares a node"


def test_ways_that_are_one_have_one_name(plan):
    told, other = rehearse(plan, 1), rehearse(plan, 2)
    found = {
        Policy("here", "regular", "never"): [told],
        Policy("here", "regular", "cheapest"): [told],
        Policy("here", "regular", "never", trunk=True): [told],
        Policy("there", "x", "never"): [],
        **{Policy("there", "", each): [other] for each in ("never", "soonest", "cheapest")},
    }
    assert by_outcome(found) == {
        "here: regular, shared jobs: never or cheapest": [told],
        "here: regular, shared jobs: never, sizes from one trunk": [told],
        "there: the default queue": [other],
    }


def test_the_middle_of_many(plan):
    assert middle([3.0]) == (3.0, 3.0, 3.0)
    assert middle([float(each) for each in range(101)]) == (10.0, 50.0, 90.0)
    assert 0 <= lost_share(rehearse(plan, 1)) < 0.5
