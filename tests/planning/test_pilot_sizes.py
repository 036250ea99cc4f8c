"""For how long pilots ask, and how many of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaign import PredictTask, load_campaign
from pipeline.campaign.model_folder import SourceFiles
from pipeline.planning.pilots import DRAIN_SHARE, fitted
from pipeline.planning.plan import PACK, PILOT, RunOptions, make_plan
from pipeline.run import Run
from pipeline.site import load_site

PILOTS = load_site("perlmutter").pilot
PACKS = load_site("perlmutter").packs


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("runs"), "quickstart")
    site = load_site("perlmutter")
    return make_plan(load_campaign("quickstart").tasks(run), run, site, RunOptions("m1"))


def trainings(plan, minutes):
    """Fine-tunings of these minutes."""
    task = next(step.task for step in plan.steps if step.task.stage == "finetune")
    return [
        task.model_copy(
            update={"training": task.training.model_copy(update={"walltime_minutes": each})}
        )
        for each in minutes
    ]


def test_a_campaign_of_minutes_is_not_planned_at_days(plan):
    assert plan.pilots(PACK).walltime_minutes < PACKS.walltime_minutes / 10
    assert plan.node_hours_of(PILOT) + plan.node_hours_of(PACK) < 4


def test_a_stage_of_a_large_file_gets_the_time_for_it(plan, tmp_path):
    task = next(step.task for step in plan.steps if step.task.stage == "stage")
    path = tmp_path / "large.npz"
    with path.open("wb") as stream:
        stream.truncate(6 * 10**9)  # 25 minutes at the slowest rate
    of = lambda *names: task.model_copy(update={"sources": {"train": tuple(map(str, names))}})  # noqa: E731
    small = fitted(PILOTS, [of("https://a.b/c.npz")], 5.0).walltime_minutes
    assert fitted(PILOTS, [of(path)], 5.0).walltime_minutes >= 100 > small


def test_files_to_predict_get_a_part_each_and_the_time_for_the_largest(tmp_path):
    path = tmp_path / "large.root"
    with path.open("wb") as stream:
        stream.truncate(6 * 10**9)

    def of(*names):
        task = PredictTask(
            key="predict/p",
            finetuned=tmp_path,
            weights_sha256="",
            source=SourceFiles(experiment="sphenix", order="file", max_points=9),
            sources=tuple(map(str, names)),
            to=tmp_path / "p.parquet",
        )
        return fitted(PILOTS, [task], 5.0)

    assert of(path).walltime_minutes >= 100 > of("https://a.b/c.root").walltime_minutes
    at_once = PILOTS.nodes_per_block * PILOTS.workers_per_node
    names = [f"https://a.b/{number}.root" for number in range(at_once + 1)]
    assert (of(*names[:-1]).max_blocks, of(*names).max_blocks) == (1, 2)


def test_nothing_beyond_what_the_site_gives(plan):
    large = fitted(PACKS, trainings(plan, [600] * 1000), 5.0)
    assert large == PACKS


def test_a_plan_without_tasks_has_the_sites_own_pilots():
    assert fitted(PACKS, [], 5.0) == PACKS


@given(minutes=st.lists(st.integers(1, 120), min_size=1, max_size=40))
def test_every_training_begins_before_pilots_drain_and_ends_within_them(plan, minutes):
    pilots = fitted(PACKS, trainings(plan, minutes), 5.0)
    free = [0.0] * pilots.max_blocks * pilots.nodes_per_block * pilots.workers_per_node
    for each in minutes:  # whoever is free first takes the next one
        first = min(range(len(free)), key=free.__getitem__)
        assert free[first] <= DRAIN_SHARE * pilots.walltime_minutes
        free[first] += each
    assert max(free) + 5.0 <= pilots.walltime_minutes or pilots == PACKS
