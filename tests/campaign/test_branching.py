"""One trunk and its branches: what is trained, from where, for how long, and at what price."""

import pytest

from pipeline.campaign import Training, load_campaign
from pipeline.catalog import DeclarationError, find
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.run import Run
from pipeline.site import load_site

SIZES = (400, 480, 960)
BRANCHED = """
events = [400, 480, 960]
branch = true
"""
TRAPEZOID = """
[pretrain.training]
schedule = "trapezoid"
decay_fraction = 0.2
"""


def written(tmp_path, *changes):
    """The quickstart, branched, with more of it written differently."""
    text = find("jobs/campaigns", "quickstart").read_text()
    for old, new in (
        ("\nevents = [960]\n", BRANCHED),
        ("\n[pretrain.training]\n", TRAPEZOID),
        ("events_seen = 1600", "events_seen = 960"),
        ("warmup_events = 200", "warmup_events = 80"),
        ("walltime_minutes = 10", "walltime_minutes = 240"),
        *changes,
    ):
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "branched.toml"
    path.write_text(text)
    return load_campaign(str(path))


def pretrainings(tmp_path, *changes):
    """The trunk and the branches, by the middle of their key."""
    tasks = written(tmp_path, *changes).tasks(Run(tmp_path, "quickstart"))
    return {t.key.split("-")[1]: t for t in tasks if t.stage == "pretrain"}


def test_there_is_a_trunk_and_a_branch_of_every_size(tmp_path):
    tasks = pretrainings(tmp_path)
    assert [task.key for task in tasks.values()] == [
        "pretrain/m0-trunk-s1",
        "pretrain/m0-d400-s1",
        "pretrain/m0-d480-s1",
        "pretrain/m0-d960-s1",
    ]


def test_every_seed_has_a_trunk_of_its_own(tmp_path):
    campaign = written(tmp_path, ("branch = true", "branch = true\nseeds = [1, 2]"))
    tasks = campaign.tasks(Run(tmp_path, "quickstart"))
    trunks = {task.key: task.seed for task in tasks if "trunk" in task.key}
    assert trunks == {"pretrain/m0-trunk-s1": 1, "pretrain/m0-trunk-s2": 2}
    assert {t.needs[1] for t in tasks if t.key.startswith("pretrain/m0-d")} == set(trunks)


def test_branches_begin_where_their_decay_does_and_the_trunk_keeps_those_points(tmp_path):
    trunk, *branches = pretrainings(tmp_path).values()
    points = [branch.trunk.events_seen for branch in branches]
    assert points == [320, 384, 768]
    assert trunk.branch_points == tuple(points)
    assert {branch.trunk.folder for branch in branches} == {tmp_path / "quickstart" / trunk.key}
    assert [branch.needs for branch in branches] == [("stage/unlabelled", trunk.key)] * 3


def test_the_trunk_is_only_as_long_as_its_last_branch_needs(tmp_path):
    trunk, *branches = pretrainings(tmp_path).values()
    assert (trunk.training.schedule, trunk.training.events_seen) == ("constant", 768)
    assert trunk.training.warmup_events == 80
    assert [branch.training.events_seen for branch in branches] == list(SIZES)
    assert [branch.training.decay for branch in branches] == [80, 96, 192]


def test_they_pass_the_data_once_and_in_one_order(tmp_path):
    tasks = pretrainings(tmp_path)
    assert all(task.one_pass for task in tasks.values())
    assert {task.seed for task in tasks.values()} == {1}
    assert [task.events for task in tasks.values()] == [768, *SIZES]


def test_a_branch_point_is_a_whole_batch_at_full_rate(tmp_path):
    changed = pretrainings(tmp_path, ("decay_fraction = 0.2", "decay_events = 85"))
    points = [task.trunk.events_seen for task in list(changed.values())[1:]]
    assert points == [312, 392, 872]
    assert all(point % 8 == 0 for point in points)


def test_a_trunk_is_never_fine_tuned(tmp_path):
    tasks = written(tmp_path).tasks(Run(tmp_path, "quickstart"))
    tuned = {task.key for task in tasks if task.stage == "finetune"}
    assert len(tuned) == 2 * len(SIZES) + 1  # from scratch once
    assert not [key for key in tuned if "trunk" in key]


def test_walltimes_are_in_proportion_to_events_and_never_too_short(tmp_path):
    minutes = {name: t.training.walltime_minutes for name, t in pretrainings(tmp_path).items()}
    assert minutes == {"trunk": 192, "d400": 20, "d480": 24, "d960": 48}
    short = (("walltime_minutes = 240", "walltime_minutes = 30"),)
    minutes = {n: t.training.walltime_minutes for n, t in pretrainings(tmp_path, *short).items()}
    assert minutes == {"trunk": 24, "d400": 10, "d480": 10, "d960": 10}


def test_the_plan_shows_what_is_saved(tmp_path):
    run, site = Run(tmp_path, "quickstart"), load_site("perlmutter")
    branched = list(pretrainings(tmp_path).values())
    lone = [
        task.model_copy(
            update={
                "training": task.training.model_copy(
                    update={"walltime_minutes": 240 * task.events // 960}
                )
            }
        )
        for task in branched[1:]
    ]
    saving = 1 - cost(branched, run, site) / cost(lone, run, site)
    assert saving == pytest.approx(1 - (768 + 80 + 96 + 192) / sum(SIZES), abs=1e-6)


def cost(tasks, run, site):
    """The node-hours of `tasks`, each in a job of its own: what shares a node costs less."""
    return sum(make_plan([task], run, site, RunOptions()).node_hours for task in tasks)


WRONG = [
    (
        (("[400, 480, 960]", "[480, 400, 960]"),),
        "pretrain: Value error, branch: events [480, 400, 960] do not increase",
    ),
    ((("[400, 480, 960]", "[400, 400, 960]"),), "do not increase: order them, each once"),
    (
        (("decay_fraction = 0.2", "decay_events = 400"),),
        "branch: the smallest size 400 has no room for a warm-up of 80 and a decay of 400",
    ),
    (
        (("warmup_events = 80", "warmup_events = 328"),),
        "has no room for a warm-up of 328 and a decay of 80",
    ),
    (
        (('schedule = "trapezoid"\ndecay_fraction = 0.2', ""),),
        'branch: schedule "cosine" has no constant rate to branch from: write schedule = "trapez',
    ),
    (
        (("events_seen = 960", "events_seen = 1600"),),
        "branch: events_seen 1600 is not the largest of events [400, 480, 960]: the data are pass",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_cannot_branch_is_refused_with_one_message(tmp_path, changes, message):
    with pytest.raises(DeclarationError) as caught:
        written(tmp_path, *changes)
    path, *problems = str(caught.value).splitlines()
    assert path == f"{tmp_path / 'branched.toml'}:"
    assert len(problems) == 1
    assert message in problems[0]


def test_without_branch_every_size_trains_by_itself(tmp_path):
    tasks = pretrainings(tmp_path, ("branch = true", "branch = false"))
    assert list(tasks) == ["d400", "d480", "d960"]
    assert not any(task.trunk or task.one_pass or task.branch_points for task in tasks.values())
    assert {type(task.training) for task in tasks.values()} == {Training}
