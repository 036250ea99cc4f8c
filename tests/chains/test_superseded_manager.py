"""A controller that another one has taken over submits, releases and cancels nothing."""

import pytest
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan

from pipeline import claims
from pipeline.chains.job_manager import JobManager
from pipeline.outcome import SupersededError


@pytest.fixture
def manager(tmp_path):
    plan = tiny_plan(tmp_path, "testbed", project="m4722")
    plan.run.identify()
    return JobManager(plan, FakeScheduler())


def submit(manager):
    step = pretraining(manager.plan)
    return manager.submit(manager.plan.link(step, 1), stage="pretrain", task_key=step.task.key)


def take_over(manager):
    (manager.plan.run.claim / "00000002.json").write_text("another controller's")


def superseded(manager, work):
    with pytest.raises(SupersededError), claims.claimed(manager.plan.run.claim):
        work()
    names = sorted(path.name for path in manager.plan.run.claim.iterdir())
    assert "00000002.json" in names, "the successor's claim stays"


def test_it_reserves_and_submits_nothing(manager):
    def work():
        take_over(manager)
        submit(manager)

    superseded(manager, work)
    assert manager.scheduler.jobs == {}
    assert manager.ledger.records() == []


def test_what_it_has_reserved_is_left_to_its_successor(manager, monkeypatch):
    append = manager.ledger.append

    def appended(record):
        """It is stopped, and taken over, when it has reserved."""
        path = append(record)
        take_over(manager)
        return path

    monkeypatch.setattr(manager.ledger, "append", appended)
    superseded(manager, lambda: submit(manager))
    assert manager.scheduler.jobs == {}
    assert [str(each.kind) for each in manager.ledger.records()] == ["reserve"]


def test_it_cancels_nothing(manager):
    job_id = submit(manager)

    def work():
        take_over(manager)
        manager.cancel([job_id])

    superseded(manager, work)
    assert manager.scheduler.cancelled == []
