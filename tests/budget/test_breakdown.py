"""What of an allocation is settled, in flight, committed and free: once each, and all of it."""

from dataclasses import replace

import pytest
from scheduler_fakes import tiny_plan

from pipeline.budget.breakdown import breakdown
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import BY_ITS_LINK, Kind, Record
from pipeline.chains.remaining_cost import committed_by
from pipeline.job import State

CAP = 100.0


@pytest.fixture
def plan(tmp_path):
    return tiny_plan(tmp_path, "perlmutter")


@pytest.fixture
def step(plan):
    return next(each for each in plan.steps if each.task.stage == "pretrain")


def write(plan, step, kind, number=1, **more):
    Ledger(plan.run.ledger).append(
        Record(
            kind=kind,
            site=plan.site.name,
            stage="pretrain",
            task=step.task.key,
            job_key=f"m0-{number}",
            job_id=str(number),
            **more,
        )
    )


def stands(plan, finished=()):
    accounts = list(Ledger(plan.run.ledger).accounts().values())
    return breakdown(accounts, committed_by(plan, finished), CAP)


def test_before_anything_all_that_is_planned_is_committed(plan):
    found = stands(plan)
    assert (found.settled, found.in_flight) == (0, 0)
    assert found.committed == pytest.approx(plan.node_hours)
    assert found.free == pytest.approx(CAP - plan.node_hours)


def test_a_job_moves_its_hours_from_committed_to_in_flight_and_settles(plan, step):
    all_at_first = plan.node_hours
    write(plan, step, Kind.RESERVE, node_hours=step.node_hours)
    flying = stands(plan)
    assert flying.in_flight == pytest.approx(step.node_hours)
    assert flying.committed == pytest.approx(all_at_first - step.node_hours)
    write(plan, step, Kind.END, node_hours=step.node_hours / 2, state=State.COMPLETED)
    ended = stands(plan)
    assert (ended.settled, ended.in_flight) == (pytest.approx(step.node_hours / 2), 0)
    assert stands(plan, [step.task.key]).committed == pytest.approx(all_at_first - step.node_hours)


def test_what_a_link_knows_itself_is_in_flight_until_accounting_confirms(plan, step):
    write(plan, step, Kind.RESERVE, node_hours=2.0)
    write(plan, step, Kind.END, node_hours=0.5, state=State.COMPLETED, note=BY_ITS_LINK)
    found = stands(plan)
    assert (found.settled, found.in_flight) == (0, pytest.approx(2.0))


def test_pilots_in_the_queue_are_not_committed_too(plan):
    rest = committed_by(plan, ())
    Ledger(plan.run.ledger).append(
        Record(
            kind=Kind.RESERVE,
            site=plan.site.name,
            stage="pilot",
            task="pilot",
            job_key="pilot-1",
            node_hours=0.25,
        )
    )
    assert committed_by(plan, ()) == pytest.approx(rest - 0.25)


def test_without_a_cap_nothing_is_free_or_lacking(plan):
    assert breakdown([], 3.0, None).free is None


def test_jobs_of_another_site_are_another_ledger(plan, step):
    write(
        replace(plan, site=plan.site.model_copy(update={"name": "elsewhere"})), step, Kind.RESERVE
    )
    assert committed_by(plan, ()) == pytest.approx(plan.node_hours)
