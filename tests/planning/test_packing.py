"""Trainings that share the nodes of a job: where each goes, who shares, and what each pays."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_fakes import shared_ladder

from pipeline.budget.cost import node_hours
from pipeline.campaign import load_campaign
from pipeline.planning.bundling import Layout, Member, layouts
from pipeline.planning.packing import Assignment, assign, node_count
from pipeline.planning.plan import Plan, RunOptions, Step, make_plan
from pipeline.planning.scripts import write_scripts
from pipeline.rehearsal.rehearse import rehearse
from pipeline.run import Run
from pipeline.site import load_site

FRONTIER = load_site("frontier")


def test_whole_nodes_come_first_and_the_others_fill_nodes() -> None:
    sizes = [(1, 4), (2, 8), (1, 2), (1, 2)]
    assert assign(sizes, 8) == [
        Assignment(2, (0, 1, 2, 3)),
        Assignment(0),
        Assignment(2, (4, 5)),
        Assignment(2, (6, 7)),
    ]
    assert node_count(sizes, 8) == 3
    assert node_count([], 8) == 0


@given(st.lists(st.sampled_from([1, 2, 4, 8, 16, 24]), min_size=1, max_size=40))
def test_sizes_that_divide_a_node_take_as_few_nodes_as_can_be(devices: list[int]) -> None:
    sizes = [(max(1, each // 8), min(each, 8)) for each in devices]
    assert node_count(sizes, 8) == -(-sum(devices) // 8)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=30))
def test_no_device_is_given_twice(devices: list[int]) -> None:
    found = assign([(1, each) for each in devices], 8)
    taken: Counter[tuple[int, int]] = Counter()
    for each, wanted in zip(found, devices, strict=True):
        mine = each.devices or range(8)
        assert len(mine) == wanted
        taken.update((each.first_node, device) for device in mine)
    assert max(taken.values()) == 1


def best(members: list[Member], **changes: Any) -> Layout:
    site = FRONTIER.model_copy(update={"link_overhead_minutes": 0.0, **changes})
    return layouts(members, site, site.training, soonest=False)[0]


def halves(count: int, minutes: int = 100, devices: int = 4) -> list[Member]:
    return [Member(f"m{number}", 1, minutes, devices) for number in range(count)]


def test_two_trainings_of_half_a_node_share_one_and_its_price() -> None:
    found = best(halves(2), node_failures=0.0)
    assert (found.jobs, found.node_hours) == (1, pytest.approx(100 / 60))
    assert set(found.bundles.values()) == {"1"}


def test_each_is_beside_one_that_takes_as_long() -> None:
    members = [Member(f"m{n}", 1, 30 + 10 * (n % 2), 4) for n in range(4)]
    bundles = best(members, bundle_parts=2).bundles
    assert bundles["m0"] == bundles["m2"] != bundles["m1"] == bundles["m3"]


def test_only_trainings_that_can_begin_together_share() -> None:
    first, second = halves(2)
    assert not best([first, replace(second, after=frozenset({"m0"}))]).bundles
    waiting = [replace(each, after=frozenset({"other"})) for each in halves(2)]
    assert best(waiting).bundles == {"m0": "1", "m1": "1"}


def test_where_a_job_gets_single_devices_nobody_shares() -> None:
    node = FRONTIER.nodes["gcd"].model_copy(update={"exclusive": False})
    assert not best(halves(4), nodes={"gcd": node}).bundles


def test_one_that_is_left_over_and_those_that_do_not_fit_are_alone() -> None:
    assert len(best(halves(3), bundle_parts=2).bundles) == 2
    assert not best(halves(2, devices=5)).bundles


def test_jobs_of_many_nodes_are_sooner_done_where_few_jobs_may_start() -> None:
    """Frontier starts four jobs of a user at once: 64 nodes' work in 4 jobs, not in 64."""
    found = layouts(halves(128), FRONTIER, FRONTIER.training, soonest=True)
    assert found[0].shared_nodes >= 16
    alone = next(each for each in found if not each.bundles)
    assert alone.hours > 20 * found[0].hours
    assert found[0].node_hours == pytest.approx(alone.node_hours / 2, rel=0.01)


def sharing(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.shares_node]


def test_the_job_names_the_devices_of_each(tmp_path: Path) -> None:
    plan = shared_ladder(tmp_path)
    steps = sharing(plan)
    job = plan.bundle([(step, 1) for step in steps])
    assert (job.nodes, job.processes_per_node) == (2, 2)
    assert [(part.first_node, part.positions) for part in job.parts] == [
        (0, (0,)),
        (0, (1,)),
        (1, (0,)),
    ]
    assert job.held_nodes == [pytest.approx(2 / 3)] * 3, "the idle device is paid by all"
    assert plan.bundle([(steps[0], 1)]).positions == ()


def test_members_pay_the_job_by_their_devices(tmp_path: Path) -> None:
    plan = shared_ladder(tmp_path)
    job = plan.bundle([(step, 1) for step in sharing(plan)])
    role, seconds = plan.training_role, 60.0 * job.walltime_minutes
    price = node_hours(plan.site, role, nodes=job.nodes, seconds=seconds)
    assert sum(step.node_hours for step in sharing(plan)) == pytest.approx(price)
    assert len({step.node_hours for step in sharing(plan)}) == 1


def test_the_scripts_are_those_of_the_jobs(tmp_path: Path) -> None:
    plan = shared_ladder(tmp_path)
    names = [path.name for path in write_scripts(plan, tmp_path / "scripts")]
    assert sum("bundle" in name for name in names) == 1
    assert not any("pretrain" in name for name in names)


def test_a_rehearsal_pays_what_the_plan_says(tmp_path: Path) -> None:
    plan = shared_ladder(tmp_path)
    found = rehearse(plan, 1)
    assert not found.failed
    jobs = {each.batch_key for each in found.accounts if each.batch_key.startswith("ladder.bundle")}
    assert jobs
    for key in jobs:
        parts = [each for each in found.accounts if each.batch_key == key]
        held = sum(each.nodes for each in parts)
        assert held == pytest.approx(round(held)), "the parts pay for all of the job's nodes"
        assert all(each.nodes < 1 for each in parts)
    assert found.node_hours < make_plan_alone(tmp_path).node_hours


def make_plan_alone(root: Path) -> Plan:
    return shared_ladder(root, bundle="never")


def test_fm4npp_s_fine_tunings_of_four_dies_leave_no_half_node_idle_on_frontier() -> None:
    """720 of them, and p1 and three Mamba models beside."""
    campaign = load_campaign("fm4npp")
    run = Run(Path("/nowhere"), "fm4npp")
    tasks = campaign.tasks(run, elsewhere=True)
    plans = [
        make_plan(tasks, run, FRONTIER, RunOptions(project="m1", bundle=each))
        for each in ("cheapest", "never")
    ]
    small = [step for step in plans[0].steps if step.task.stage == "finetune"]
    assert len(small) == 720
    assert sum(step.shares_node for step in small) == 720
    saved = plans[1].node_hours - plans[0].node_hours
    assert 2300 < saved < 2600
