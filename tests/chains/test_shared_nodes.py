"""Trainings that share a node: what each reserves, is charged, and pays once records were lost."""

import shutil
from dataclasses import replace

import pytest
from scheduler_fakes import FakeScheduler, shared_ladder

from pipeline.budget.cost import node_hours
from pipeline.budget.guard import BudgetError
from pipeline.campaign import declare
from pipeline.chains import continuation, link_settings
from pipeline.chains.continuation import begin_together
from pipeline.chains.job_manager import JobManager
from pipeline.chains.settlement import restore
from pipeline.job import State
from pipeline.run import Run


@pytest.fixture
def scheduler(monkeypatch):
    made = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    monkeypatch.setattr(continuation, "connect", lambda *_: made)
    return made


@pytest.fixture
def manager(tmp_path, scheduler):
    """Three trainings of a device each: two share a node, one has the other half of a second."""
    plan = shared_ladder(tmp_path)
    plan.run.identify()
    plan = replace(plan, steps=[step for step in plan.steps if step.shares_node])
    for step in plan.steps:
        declare(plan.run.task(step.task.key), step.task)
        link_settings.write(plan, step)
    return JobManager(plan, scheduler)


@pytest.fixture
def job_id(manager):
    return manager.submit_links([(step, 1) for step in manager.plan.steps])


def whole(manager, minutes):
    """The price of both nodes."""
    role = manager.plan.training_role
    return node_hours(manager.plan.site, role, nodes=2, seconds=60 * minutes)


def accounts(manager):
    return list(manager.ledger.accounts().values())


def test_the_parts_reserve_the_job_by_their_devices(manager, scheduler, job_id):
    job = scheduler.jobs[job_id]
    assert job.nodes == 2
    assert [each.nodes for each in accounts(manager)] == [pytest.approx(2 / 3)] * 3
    minutes = manager.plan.bundle([(step, 1) for step in manager.plan.steps]).walltime_minutes
    reserved = sum(each.reserved_node_hours for each in accounts(manager))
    assert reserved == pytest.approx(whole(manager, minutes))


def test_the_job_is_charged_once(manager, scheduler, job_id):
    scheduler.end(job_id, state=State.COMPLETED, exit_code=0)
    manager.settle()
    charged = [each.charged_node_hours for each in accounts(manager)]
    assert sum(charged) == pytest.approx(whole(manager, 30))
    assert charged == [pytest.approx(charged[0])] * 3
    assert manager.settle() == []


def test_a_job_that_came_twice_is_charged_twice_and_no_more(
    manager, scheduler, job_id, monkeypatch
):
    links = [(manager.plan.run.task(step.task.key), 1) for step in manager.plan.steps]
    monkeypatch.setenv("COSMOTRON_JOB_ID", job_id)
    assert begin_together(links) == [1, 2, 3]
    job = manager.plan.bundle([(step, 1) for step in manager.plan.steps])
    twin = scheduler.submit(job, "")
    monkeypatch.setenv("COSMOTRON_JOB_ID", twin)
    monkeypatch.setenv("COSMOTRON_JOB_KEY", job.key)
    assert begin_together(links) == []
    scheduler.end(twin, state=State.COMPLETED, exit_code=0)
    manager.settle()
    twins = [each for each in accounts(manager) if each.job_id == twin]
    assert sum(each.charged_node_hours for each in twins) == pytest.approx(whole(manager, 30))


def test_what_is_found_again_after_records_were_lost_is_charged_the_same(
    manager, scheduler, job_id
):
    scheduler.end(job_id, state=State.COMPLETED, exit_code=0)
    manager.settle()
    before = {each.job_key: each.charged_node_hours for each in accounts(manager)}
    bundle = manager.plan.bundle([(step, 1) for step in manager.plan.steps])
    bundle.script.parent.mkdir(parents=True, exist_ok=True)
    bundle.script.write_text("")
    shutil.rmtree(manager.plan.run.ledger)
    again = JobManager(manager.plan, scheduler)
    _, found = restore(again)
    assert found == 3
    assert {each.job_key: each.charged_node_hours for each in accounts(again)} == pytest.approx(
        before
    )


def test_the_guard_takes_the_plan_s_price_and_not_less(manager, tmp_path):
    """All that the three may cost, over all of their links; a hundredth less is refused."""
    links = [(step, 1) for step in manager.plan.steps]
    price = sum(step.node_hours for step in manager.plan.steps)

    def capped(cap, name):
        run = Run(tmp_path / name, "ladder")
        options = replace(manager.plan.options, cap_node_hours=cap)
        return JobManager(replace(manager.plan, run=run, options=options), FakeScheduler())

    assert capped(price, "enough").submit_links(links)
    with pytest.raises(BudgetError, match="too many"):
        capped(0.99 * price, "less").submit_links(links)
