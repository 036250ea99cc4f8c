"""Trainings that share large jobs: which, for what, and what is compared."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.campaign import load_campaign
from pipeline.catalog import DeclarationError
from pipeline.planning.bundling import Layout, Member, layouts, rounds, unconfirmed
from pipeline.planning.plan import Plan, RunOptions, make_plan
from pipeline.run import Run
from pipeline.scheduler import render
from pipeline.site import Bin, Role, Site, load_site

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"


def best(members: list[Member], site: Site, role: Role | None = None) -> Layout:
    return layouts(members, site, role or site.training, soonest=False)[0]


def without_overhead(name: str, **changes: Any) -> Site:
    return load_site(name).model_copy(update={"link_overhead_minutes": 0.0, **changes})


def cells(count: int, nodes: int, minutes: int = 600) -> list[Member]:
    return [Member(f"m{number}", nodes, minutes) for number in range(count)]


def test_frontiers_larger_bin_makes_links_longer() -> None:
    """Six cells of 16 nodes and ten hours: six links each, or two jobs of 96 nodes."""
    site = without_overhead("frontier")
    together, alone = layouts(cells(6, 16), site, site.training, soonest=False)
    assert (together.from_nodes, together.jobs, set(together.bundles.values())) == (92, 2, {"1"})
    assert (alone.name, alone.jobs) == ("each alone", 36)
    assert together.hours == 10
    assert alone.hours == 6 * 10 / 4, "four jobs of a user may start"


def test_each_start_up_costs_its_nodes() -> None:
    site = without_overhead("frontier", node_failures=0.0, link_overhead_minutes=12.0)
    together, alone = layouts(cells(6, 16), site, site.training, soonest=False)
    assert alone.node_hours == pytest.approx(6 * 16 * (10 + 7 * 12 / 60))
    assert together.node_hours == pytest.approx(96 * (10 + 2 * 12 / 60))


def test_a_failure_of_a_node_starts_all_of_its_job_again() -> None:
    site = without_overhead("frontier", node_failures=10.0, link_overhead_minutes=30.0)
    found = best(cells(6, 16), site)
    failures = (
        10.0 / 1000 * 96 * 11 / 24
    )  # two links of at most six hours, half an hour of each lost
    assert found.jobs == 2
    assert found.node_hours == pytest.approx(96 * (11 + failures * 0.5))


def test_perlmutters_discount_is_a_reason_and_is_said_to_be_unconfirmed() -> None:
    site = without_overhead("perlmutter", node_failures=0.0)
    found = layouts(cells(8, 16), site, site.training, soonest=False)
    assert [each.from_nodes for each in found] == [128, 0]
    assert [each.node_hours for each in found] == [8 * 16 * 10 / 2, 8 * 16 * 10]
    assert unconfirmed(found[0], site, site.training) == [
        "large-job discount: one secondary source"
    ]
    assert unconfirmed(found[1], site, site.training) == []


def test_what_would_wait_for_the_longest_is_cheaper_alone_and_sooner_together() -> None:
    site = without_overhead("frontier")
    members = [Member(f"m{n}", 16, 60 * (10 - n)) for n in range(6)]
    assert best(members, site).bundles == {}
    assert layouts(members, site, site.training, soonest=True)[0].from_nodes == 92


def test_trainings_that_take_as_long_share_a_job() -> None:
    site = without_overhead("frontier")
    members = [Member(f"m{n}", 46, 600 if n % 2 else 300) for n in range(4)]
    bundles = best(members, site).bundles
    assert bundles["m1"] == bundles["m3"]
    assert bundles["m0"] == bundles["m2"] != bundles["m1"]


def test_what_is_left_over_joins_the_last_bundle_or_stays_alone() -> None:
    site = without_overhead("frontier")
    assert set(best(cells(7, 16), site).bundles) == {f"m{n}" for n in range(7)}
    small = site.model_copy(
        update={"bins": (*site.bins[:1], Bin(min_nodes=92, max_nodes=100, max_minutes=360))}
    )
    assert len(best(cells(7, 16), small).bundles) == 6


def test_large_trainings_and_too_few_are_alone() -> None:
    site = without_overhead("frontier")
    assert best(cells(5, 16), site).bundles == {}
    assert best(cells(4, 6000), site).bundles == {}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 3000)), min_size=1, max_size=6),
    st.sampled_from([0.0, 5.0]),
)
def test_a_bundle_works_as_long_as_its_longest_training(asked, overhead) -> None:
    site = load_site("frontier")
    members = [Member(str(place), *each) for place, each in enumerate(asked)]
    jobs = rounds(members, site, site.training, overhead)
    work = sum(minutes - overhead for _, minutes in jobs)
    assert work == pytest.approx(max(minutes for _, minutes in asked))
    sizes = [nodes for nodes, _ in jobs]
    assert sizes[0] == sum(nodes for nodes, _ in asked)
    assert sizes == sorted(sizes, reverse=True), "who is done leaves"
    assert all(minutes <= site.max_minutes(nodes, "") for nodes, minutes in jobs)


def ladder(root: Path, site: str = "testbed-frontier", **asked: Any) -> Plan:
    run = Run(root, "ladder")
    tasks = load_campaign(str(LADDER)).tasks(run)
    return make_plan(tasks, run, load_site(site), RunOptions(project="nph000", **asked))


def of_trainings(plan: Plan) -> list[Any]:
    return [step for step in plan.steps if step.task.stage == "pretrain"]


def test_the_plan_says_who_shares_and_what_it_costs(tmp_path: Path) -> None:
    plan = ladder(tmp_path)
    together = [step for step in of_trainings(plan) if step.bundle]
    (alone,) = [step for step in of_trainings(plan) if not step.bundle]
    assert {step.bundle for step in together} == {"1"}
    assert [(step.links, step.node_hours) for step in together] == [(1, 5 / 60)] * 2
    assert alone.links == 3
    assert [each.from_nodes for each in plan.layouts] == [2, 0]


def test_nobody_shares_who_must_not(tmp_path: Path) -> None:
    assert not any(step.bundle for step in of_trainings(ladder(tmp_path, bundle="never")))
    assert not ladder(tmp_path, bundle="never").layouts
    assert not ladder(tmp_path, "local").layouts, "only Slurm runs programs side by side"


def test_the_job_of_a_bundle_is_what_its_links_are_together(tmp_path: Path) -> None:
    plan = ladder(tmp_path)
    steps = [step for step in of_trainings(plan) if step.bundle]
    job = plan.bundle([(step, 1) for step in steps])
    assert (job.nodes, job.walltime_minutes) == (2, 5)
    assert [part.key for part in job.parts] == [plan.link(step, 1).key for step in steps]
    assert [part.walltime_minutes for part in job.parts] == [5, 5]
    assert job.key != plan.bundle([(step, 2) for step in steps]).key
    assert plan.bundle([(steps[0], 1)]) == plan.link(steps[0], 1)


def test_other_schedulers_are_refused_a_bundle(tmp_path: Path) -> None:
    plan = ladder(tmp_path)
    job = plan.bundle([(step, 1) for step in of_trainings(plan) if step.bundle])
    with pytest.raises(DeclarationError, match="runs no bundles; its scheduler is local"):
        render(job, load_site("local"))
