"""Controllers killed at any moment: no job runs twice, no record is lost, no promise is left."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_fakes import Clock, FakeScheduler, pretraining, tiny_plan

from pipeline.budget.account import replay
from pipeline.budget.cost import node_hours
from pipeline.budget.ledger import Ledger
from pipeline.chains import back_off, job_manager
from pipeline.chains.job_manager import JobManager

LINKS = (1, 2, 3)


class Killed(BaseException):
    """What nobody catches, as nobody catches a kill -9."""


class Fuse:
    """Ends the process at the n-th of the moments at which it can matter."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burns(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


class FragileLedger(Ledger):
    def __init__(self, folder: Path, fuse: Fuse) -> None:
        super().__init__(folder)
        self.fuse = fuse

    def append(self, record):
        self.fuse.burns()
        path = super().append(record)
        self.fuse.burns()
        return path


class FragileScheduler(FakeScheduler):
    """Its jobs outlive any controller, and each ends after one question."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.polls = 1
        self.fuse = fuse

    def submit(self, job, text, *, tried_since=None):
        self.fuse.burns()
        job_id = super().submit(job, text, tried_since=tried_since)
        self.fuse.burns()
        return job_id


STEPS = st.tuples(
    st.sampled_from(["settle", "recover", *(f"submit {number}" for number in LINKS)]),
    st.none() | st.integers(0, 8),
)


def act(manager: JobManager, what: str) -> None:
    if what == "settle":
        manager.settle()
    elif what == "recover":
        manager.recover()
    else:
        step = pretraining(manager.plan)
        job = manager.plan.link(step, int(what.split()[1]))
        manager.submit(job, stage="pretrain", task_key=step.task.key)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(job_manager, "clock", Clock())
    monkeypatch.setattr(back_off, "clock", Clock())


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=10))
def test_no_sequence_of_kills_loses_or_doubles_anything(steps):
    with tempfile.TemporaryDirectory() as folder:
        fuse = Fuse()
        plan, scheduler = (
            tiny_plan(Path(folder), "perlmutter", project="m4722"),
            FragileScheduler(fuse),
        )

        def controller() -> JobManager:
            return JobManager(plan, scheduler, FragileLedger(plan.run.ledger, fuse))

        manager, asked = controller(), set()
        for what, fuse.left in steps:
            asked |= {what} if what.startswith("submit") else set()
            try:
                act(manager, what)
            except Killed:
                manager = controller()
        fuse.left = None
        manager = controller()
        for what in sorted(asked):
            act(manager, what)
        manager.settle()

        keys = [each.key for each in scheduler.jobs.values()]
        assert len(keys) == len(set(keys)) == len(asked)
        accounts = manager.ledger.accounts()
        assert accounts.keys() == set(keys)
        site, role = plan.site, plan.training_role
        for job_id, job in scheduler.jobs.items():
            account = accounts[job.key]
            assert account.job_id == job_id
            assert account.reserved_node_hours == 0
            hours = node_hours(site, role, nodes=job.nodes, seconds=1800)
            assert account.charged_node_hours == hours
        records = manager.ledger.records()
        for key, account in accounts.items():
            assert replay(each for each in records if each.job_key == key) == account
        assert [path.name for path in plan.run.ledger.glob(".*.tmp")] == []
