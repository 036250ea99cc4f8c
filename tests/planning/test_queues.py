"""The queue of each training: the cheapest of the site's alternatives that takes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from scheduler_fakes import FakeScheduler
from whole_campaign import TINY

from pipeline.campaign import declare, load_campaign
from pipeline.catalog import DeclarationError
from pipeline.chains import link_settings
from pipeline.chains.job_manager import JobManager
from pipeline.chains.watch import Watchers
from pipeline.job import State
from pipeline.planning.plan import Plan, RunOptions, make_plan
from pipeline.planning.preflight.login import login
from pipeline.rehearsal import rehearse
from pipeline.run import Run
from pipeline.scheduler import render
from pipeline.site import Site, load_site

POLARIS = load_site("polaris")


def planned(root: Path, site: Site, devices: list[int], minutes: int = 60, **asked: Any) -> Plan:
    """The pretraining of the tiny campaign, once for each number of devices."""
    run = Run(root, "tiny")
    tasks = load_campaign(str(TINY)).tasks(run)
    one = next(each for each in tasks if each.stage == "pretrain")
    found = [
        one.model_copy(
            update={
                "key": f"pretrain/m{number}",
                "training": one.training.model_copy(
                    update={"devices": each, "batch_events": 4096, "walltime_minutes": minutes}
                ),
            }
        )
        for number, each in enumerate(devices)
    ]
    return make_plan(found, run, site, RunOptions(project="m1", **asked))


def queues(plan: Plan) -> list[str]:
    return [step.qos for step in plan.steps]


def with_alternatives(name: str, *alternatives: str, **changes: Any) -> Site:
    site = load_site(name)
    training = site.training.model_copy(update={"alternatives": alternatives, **changes})
    return site.model_copy(update={"training": training})


def test_polaris_takes_ten_nodes_in_the_one_and_more_in_the_other(tmp_path: Path) -> None:
    plan = planned(tmp_path, POLARIS, [4, 40, 44, 1984])
    assert queues(plan) == ["preemptable", "preemptable", "prod", "prod"]
    job = plan.link(plan.steps[2], 1)
    assert job.qos == "prod"
    assert "#PBS -q prod\n" in render(job, POLARIS)


def test_a_queue_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    assert queues(planned(tmp_path, POLARIS, [44, 400], qos="prod")) == ["prod", "prod"]
    with pytest.raises(DeclarationError, match="QOS 'preemptable' takes 10 nodes, not 11"):
        planned(tmp_path, POLARIS, [44], qos="preemptable")


def test_what_no_queue_takes_is_refused_for_the_reason_of_the_first(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="QOS 'preemptable' takes 10 nodes, not 500"):
        planned(tmp_path, POLARIS, [2000])


def test_the_cheapest_wins_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    """Perlmutter's preempt costs as much as regular for two hours, then a quarter."""
    site = with_alternatives("perlmutter", "preempt")
    assert queues(planned(tmp_path, site, [8], minutes=120)) == ["regular"]
    assert queues(planned(tmp_path, site, [8], minutes=600)) == ["preempt"]
    assert queues(planned(tmp_path, site, [516], minutes=600)) == ["regular"], "128 nodes at most"


def test_a_chain_goes_where_chains_are_allowed(tmp_path: Path) -> None:
    site = with_alternatives("frontier", "debug", "extended")
    assert queues(planned(tmp_path, site, [8], minutes=100)) == [""]
    site = with_alternatives("frontier", "extended", qos="debug")
    assert queues(planned(tmp_path, site, [8], minutes=100)) == ["debug"]
    assert queues(planned(tmp_path, site, [8], minutes=600)) == ["extended"]


def test_a_job_is_charged_by_its_own_queue(tmp_path: Path) -> None:
    site = with_alternatives("perlmutter", "preempt")
    plan = planned(tmp_path, site, [8, 8], minutes=600)
    short = planned(tmp_path, site, [8], minutes=60).steps[0]
    scheduler = FakeScheduler(seconds=36_000, end=1_036_000)
    manager = JobManager(plan, scheduler)
    for step in (plan.steps[0], short):
        link = plan.link(step, 1 if step is short else 2)
        manager.submit(link, stage="pretrain", task_key=step.task.key)
    scheduler.polls = 1
    manager.settle()
    charged = {each.qos: each.charged_node_hours for each in manager.ledger.accounts().values()}
    assert charged == {"preempt": 2 * (2 + 8 / 4), "regular": 2 * 10}


def test_a_full_queue_does_not_hold_up_the_other(tmp_path: Path) -> None:
    queue = {
        name: each.model_copy(update={"submitted_jobs": 4 if name == "preemptable" else 100})
        for name, each in POLARIS.qos.items()
    }
    site = POLARIS.model_copy(update={"qos": queue})
    plan = planned(tmp_path, site, [4] * 6 + [44])
    for step in plan.steps:
        declare(plan.run.task(step.task.key), step.task)
    scheduler = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    watchers = Watchers(JobManager(plan, scheduler))
    for step in plan.steps:
        watchers.add(step)
    watchers.advance()
    nodes = sorted(each.nodes for each in scheduler.jobs.values())
    assert nodes == [1, 1, 1, 1, 11], "prod has room behind those that wait for preemptable"


def test_a_link_goes_on_in_its_queue_and_one_of_an_older_version_in_the_only_one(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, POLARIS, [44])
    (step,) = plan.steps
    folder = plan.run.task(step.task.key)
    declare(folder, step.task)
    link_settings.write(plan, step)
    path = folder.chain / "link-settings.json"
    assert link_settings.read(folder)[1].qos == "prod"
    older = json.loads(path.read_text())
    del older["step"]["qos"], older["step"]["shares_node"]
    path.write_text(json.dumps(older))
    assert link_settings.read(folder)[1].qos == "preemptable"


def test_a_rehearsal_uses_each_training_s_queue(tmp_path: Path) -> None:
    plan = planned(tmp_path, POLARIS, [4, 44])
    told = rehearse(plan, 1)
    assert not told.failed
    assert {each.qos: each.nodes for each in told.accounts} == {"preemptable": 1, "prod": 11}


def test_the_checks_look_for_each_queue(tmp_path: Path) -> None:
    site = with_alternatives("testbed", "debug", "premium")
    rows = list(login(site, FakeScheduler(), tmp_path, RunOptions(project="m1")))
    assert [row.name for row in rows].count("queue") == 3
    rows = list(login(site, FakeScheduler(), tmp_path, RunOptions(project="m1", qos="debug")))
    assert [row.name for row in rows].count("queue") == 1


def test_trainings_of_another_queue_share_no_job(tmp_path: Path) -> None:
    site = with_alternatives("perlmutter", "preempt")
    plan = planned(tmp_path, site, [128] * 5, minutes=600)
    assert set(queues(plan)) == {"preempt"}
    assert not any(step.bundle for step in plan.steps)
    assert not plan.layouts
