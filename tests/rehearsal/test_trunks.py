"""The price of a grid whose data sizes come from one trunk."""

from pathlib import Path

import pytest

from pipeline.campaign import load_campaign
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.rehearsal import rehearse
from pipeline.rehearsal.trunks import on_trunks
from pipeline.run import Run
from pipeline.site import load_site

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"
SIZES = (4000, 8000, 16000)
PROPORTIONAL = {"events_seen": 16000, "warmup_events": 1000, "walltime_minutes": 1600}


@pytest.fixture
def tasks(tmp_path):
    """Three data sizes, each seen once, of a training that takes a minute for ten events."""
    what = load_campaign(str(LADDER))
    training = what.pretrain.training.model_copy(update=PROPORTIONAL)
    grid = what.pretrain.model_copy(
        update={"events": SIZES, "training": training, "same_epochs": True}
    )
    return what.model_copy(update={"pretrain": grid}).tasks(Run(tmp_path, "ladder"))


def trainings(tasks):
    return {each.key: each for each in tasks if each.stage == "pretrain"}


def test_the_trunk_and_a_decay_a_size_are_trained_in_the_place_of_all_sizes(tasks, tmp_path):
    told = trainings(on_trunks(tasks, Run(tmp_path, "ladder")))
    assert list(told) == [
        "pretrain/m-trunk-s1",
        "pretrain/m-d4000-s1",
        "pretrain/m-d8000-s1",
        "pretrain/m-d16000-s1",
    ]
    minutes = [each.training.walltime_minutes for each in told.values()]
    assert minutes == [1280, 80, 160, 320]  # 4/5 of the longest, and 1/5 of each
    trunk, *branches = told.values()
    assert trunk.branch_points == (3200, 6400, 12800)
    assert [each.trunk.events_seen for each in branches] == [3200, 6400, 12800]
    assert all(trunk.key in each.needs for each in branches)


def test_the_rest_of_the_campaign_stays(tasks, tmp_path):
    told = on_trunks(tasks, Run(tmp_path, "ladder"))
    assert [each for each in told if each.stage != "pretrain"] == [
        each for each in tasks if each.stage != "pretrain"
    ]


def test_sizes_that_see_the_same_number_of_events_share_no_trunk(tmp_path):
    run = Run(tmp_path, "ladder")
    tasks = load_campaign(str(LADDER)).tasks(run)
    assert on_trunks(tasks, run) == tasks


def test_it_rehearses_for_less(tasks, tmp_path):
    run, site = Run(tmp_path, "ladder"), load_site("perlmutter")
    options = RunOptions(project="m4722", bundle="never")
    each, trunk = (
        rehearse(make_plan(some, run, site, options), 1) for some in (tasks, on_trunks(tasks, run))
    )
    assert trunk.failed == {}
    assert 0.5 < trunk.node_hours / each.node_hours < 0.8  # by walltimes it is 1840 of 2800
