"""What was begun can be ended under the cap: what begins later leaves room for it."""

from dataclasses import replace
from pathlib import Path

import pytest
from scheduler_fakes import FakeScheduler

from pipeline import records
from pipeline.budget.guard import BudgetError, RemainingCost
from pipeline.budget.record import Kind, Record
from pipeline.campaign import load_campaign
from pipeline.chains.job_manager import JobManager
from pipeline.chains.remaining_cost import remaining
from pipeline.chains.submission import NoHoursError
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.records import Beginning
from pipeline.run import Run
from pipeline.scheduler import SchedulerError
from pipeline.site import load_site

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"


@pytest.fixture
def manager(tmp_path):
    """A manager of three trainings on Frontier, each five links of two hours on one node."""
    what, run = load_campaign(str(LADDER)), Run(tmp_path, "ladder")
    options = RunOptions(project="nph000", bundle="never")
    plan = make_plan(what.tasks(run), run, load_site("frontier"), options)
    steps = [
        replace(step, links=5, link_minutes=120, node_hours=10.0) if not step.in_pilot else step
        for step in plan.steps
    ]
    return JobManager(replace(plan, steps=steps), FakeScheduler())


def capped(manager, node_hours):
    manager.plan = replace(
        manager.plan, options=replace(manager.plan.options, cap_node_hours=node_hours)
    )
    return manager


def trainings(manager):
    return [step for step in manager.plan.steps if not step.in_pilot]


def submit(manager, step, number=1):
    job = manager.plan.link(step, number)
    return manager.submit(job, stage="pretrain", task_key=step.task.key)


def before(manager, step):
    """The remaining cost for which room is kept before a link of two node-hours is submitted."""
    return remaining(manager.plan, manager.ledger, {step.task.key: 2.0})


def end(manager, step, number, node_hours):
    """Record that a link ended, and was charged so much."""
    record = Record(
        kind=Kind.END,
        site="frontier",
        stage="pretrain",
        task=step.task.key,
        job_key=manager.plan.link(step, number).key,
        node_hours=node_hours,
    )
    manager.ledger.append(record)


def test_a_training_that_begins_is_looked_at_as_a_whole(manager):
    first, second, _ = trainings(manager)
    assert before(manager, first) == RemainingCost(current=8.0)
    submit(manager, first)
    assert before(manager, second) == RemainingCost(current=8.0, others=8.0)
    assert before(manager, first) == RemainingCost()


def test_what_a_chain_was_charged_is_no_longer_to_come(manager):
    first, second, _ = trainings(manager)
    submit(manager, first)
    end(manager, first, 1, 1.5)
    submit(manager, first, 2)
    assert before(manager, second).others == 10.0 - 1.5 - 2.0


def test_a_chain_that_is_over_needs_nothing_more(manager):
    first, second, _ = trainings(manager)
    submit(manager, first)
    end(manager, first, 1, 0.3)
    assert before(manager, second).others == 0.0


def test_the_jobs_of_a_product_that_was_replaced_count_for_nothing(manager):
    first, second, _ = trainings(manager)
    submit(manager, first)
    end(manager, first, 1, 9.0)
    begun = Beginning(events_seen=80, last_job=1)
    records.write(manager.plan.run.task(first.task.key).beginning, begun)
    assert before(manager, first) == RemainingCost(current=8.0), "its rest must fit as a whole"
    submit(manager, first, 2)
    assert before(manager, second).others == 8.0


def test_a_second_training_waits_until_the_first_leaves_it_room(manager):
    first, second, _ = trainings(capped(manager, 15.0))
    submit(manager, first)
    with pytest.raises(NoHoursError) as told:
        submit(manager, second)
    assert str(told.value).startswith(
        "frontier: 2.00 node-hours requested, 10.00 for the whole chain, 5.00 left of 15.00 "
        "(0.00 charged, 2.00 reserved, 8.00 remaining for other tasks): 5.00 too many."
    )
    assert manager.refusal == str(told.value)
    submit(manager, first, 2)  # the chain itself goes on
    for number, taken in ((1, 2.0), (2, 1.0)):  # and is done before it took all
        end(manager, first, number, taken)
    submit(manager, second)
    assert manager.refusal == ""


def test_a_training_that_can_never_fit_is_refused_at_once(manager):
    first, *_ = trainings(capped(manager, 9.0))
    with pytest.raises(BudgetError, match=r"10\.00 for the whole chain, 9\.00 left of 9\.00"):
        submit(manager, first)
    assert manager.ledger.records() == []


def test_a_job_that_the_queue_refused_began_nothing(manager):
    first, *_ = trainings(capped(manager, 30.0))
    manager.scheduler.refuses = True
    with pytest.raises(SchedulerError):
        submit(manager, first)
    assert before(manager, first) == RemainingCost(current=8.0)


def test_a_chain_that_took_more_than_its_plan_goes_on_to_the_cap(manager):
    first, *_ = trainings(capped(manager, 12.0))
    for number in range(1, 7):
        submit(manager, first, number)
        end(manager, first, number, 2.0)
    with pytest.raises(BudgetError, match=r"0\.00 left of 12\.00"):
        submit(manager, first, 7)
