"""What was begun can be ended under the cap: what begins later leaves room for it."""

from dataclasses import replace
from pathlib import Path

import pytest
from desk_fakes import FakeScheduler

from pipeline.budget.guard import BudgetError, ToCome
from pipeline.budget.record import Kind, Record
from pipeline.campaign import load_campaign
from pipeline.chains.job_manager import Desk, NoHoursError
from pipeline.chains.remaining_cost import to_come
from pipeline.planning.plan import Asked, make_plan
from pipeline.run import Run
from pipeline.scheduler import SchedulerError
from pipeline.site import load_site

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"


@pytest.fixture
def desk(tmp_path):
    """A desk of three trainings on Frontier, each five links of two hours on one node."""
    what, run = load_campaign(str(LADDER)), Run(tmp_path, "ladder")
    asked = Asked(project="nph000", bundle="never")
    plan = make_plan(what.tasks(run), run, load_site("frontier"), asked)
    steps = [
        replace(step, links=5, link_minutes=120, node_hours=10.0) if not step.in_pilot else step
        for step in plan.steps
    ]
    return Desk(replace(plan, steps=steps), FakeScheduler())


def capped(desk, node_hours):
    desk.plan = replace(desk.plan, asked=replace(desk.plan.asked, cap_node_hours=node_hours))
    return desk


def trainings(desk):
    return [step for step in desk.plan.steps if not step.in_pilot]


def submit(desk, step, number=1):
    job = desk.plan.link(step, number)
    return desk.submit(job, stage="pretrain", task_key=step.task.key)


def before(desk, step):
    """What is to come, for which room is kept before a link of two node-hours is submitted."""
    return to_come(desk.plan, desk.ledger, {step.task.key: 2.0})


def end(desk, step, number, node_hours):
    """Record that a link ended, and was charged so much."""
    record = Record(
        kind=Kind.END,
        site="frontier",
        stage="pretrain",
        task=step.task.key,
        job_key=desk.plan.link(step, number).key,
        node_hours=node_hours,
    )
    desk.ledger.append(record)


def test_a_training_that_begins_is_looked_at_as_a_whole(desk):
    first, second, _ = trainings(desk)
    assert before(desk, first) == ToCome(asking=8.0)
    submit(desk, first)
    assert before(desk, second) == ToCome(asking=8.0, others=8.0)
    assert before(desk, first) == ToCome()


def test_what_a_chain_was_charged_is_no_longer_to_come(desk):
    first, second, _ = trainings(desk)
    submit(desk, first)
    end(desk, first, 1, 1.5)
    submit(desk, first, 2)
    assert before(desk, second).others == 10.0 - 1.5 - 2.0


def test_a_chain_that_is_over_needs_nothing_more(desk):
    first, second, _ = trainings(desk)
    submit(desk, first)
    end(desk, first, 1, 0.3)
    assert before(desk, second).others == 0.0


def test_a_second_training_waits_until_the_first_leaves_it_room(desk):
    first, second, _ = trainings(capped(desk, 15.0))
    submit(desk, first)
    with pytest.raises(NoHoursError) as told:
        submit(desk, second)
    assert str(told.value).startswith(
        "frontier: 2.00 node-hours asked, as a whole 10.00, 5.00 left of 15.00 "
        "(0.00 charged, 2.00 reserved, 8.00 to come): 5.00 too many."
    )
    assert desk.waits_because == str(told.value)
    submit(desk, first, 2)  # the chain itself goes on
    for number, taken in ((1, 2.0), (2, 1.0)):  # and is done before it took all
        end(desk, first, number, taken)
    submit(desk, second)
    assert desk.waits_because == ""


def test_a_training_that_can_never_fit_is_refused_at_once(desk):
    first, *_ = trainings(capped(desk, 9.0))
    with pytest.raises(BudgetError, match=r"as a whole 10\.00, 9\.00 left of 9\.00"):
        submit(desk, first)
    assert desk.ledger.records() == []


def test_a_job_that_the_queue_refused_began_nothing(desk):
    first, *_ = trainings(capped(desk, 30.0))
    desk.scheduler.refuses = True
    with pytest.raises(SchedulerError):
        submit(desk, first)
    assert before(desk, first) == ToCome(asking=8.0)


def test_a_chain_that_took_more_than_its_plan_goes_on_to_the_cap(desk):
    first, *_ = trainings(capped(desk, 12.0))
    for number in range(1, 7):
        submit(desk, first, number)
        end(desk, first, number, 2.0)
    with pytest.raises(BudgetError, match=r"0\.00 left of 12\.00"):
        submit(desk, first, 7)
