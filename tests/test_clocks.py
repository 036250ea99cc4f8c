"""A clock that goes back two days, or forward, ends in no traceback and no negative time."""

import time

import pytest
from scheduler_fakes import tiny_plan

from pipeline import records
from pipeline.budget.account import replay
from pipeline.budget.ledger import Ledger
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import Kind, Record
from pipeline.budget.use import uses
from pipeline.job import JobStatus, State
from pipeline.pace import link_seconds, overheads, pace
from pipeline.records import LinkRecord
from pipeline.scheduler.record import Record as LocalRecord

DAYS = 172_800.0
BACK = LinkRecord(
    number=1,
    key="k",
    began=1e9,
    started=1e9 - DAYS,
    first_step=1e9 - DAYS + 5,
    last_step=1e9 - DAYS + 50,
    ended=1e9 - DAYS + 60,
    saving_seconds=3.0,
)


@pytest.fixture
def plan(tmp_path):
    return tiny_plan(tmp_path, "testbed", project="m4722")


def test_the_record_of_a_link_has_no_negative_spans():
    assert BACK.began <= BACK.last <= BACK.end
    assert (BACK.start_up_seconds, BACK.step_seconds) == (0.0, 0.0)
    overhead, share = overheads([BACK])
    assert overhead >= 0
    assert share >= 0


def test_what_hours_went_into_is_told(plan):
    folder = plan.run.task("pretrain/m")
    records.write(folder.links / "001.json", BACK)
    job = {"site": "testbed", "stage": "pretrain", "task": "pretrain/m", "job_key": "k"}
    end = Record(kind=Kind.END, **job, nodes=1, seconds=60, node_hours=1.0, state=State.COMPLETED)
    found = uses([replay([end])], plan.run, {})
    assert sum(each.node_hours for each in found) == pytest.approx(1.0)
    assert all(each.node_hours >= 0 for each in found)
    assert link_seconds(folder) >= 0
    assert pace(folder) is not None


def test_a_job_that_ended_before_it_began_is_charged_nothing(plan, tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    job = {"site": "testbed", "stage": "pretrain", "task": "pretrain/m", "job_key": "k"}
    ledger.append(Record(kind=Kind.RESERVE, **job, nodes=1, node_hours=1.0))
    status = JobStatus(id="7", key="k", state=State.COMPLETED, nodes=1, seconds=-172_800, end=5)
    reconcile(ledger, {"k": status}, plan.site, lambda _: plan.training_role)
    assert ledger.accounts()["k"].seconds == 0
    assert ledger.accounts()["k"].charged_node_hours == 0


def test_a_local_job_across_a_jump_took_no_negative_time(tmp_path):
    record = LocalRecord(
        key="k",
        script=tmp_path / "k.sbatch",
        log=tmp_path / "k.log",
        devices=1,
        devices_here=1,
        nodes=1.0,
        walltime_seconds=60,
        signal_lead_seconds=0,
        submitted=int(time.time()),
        start=int(time.time() + DAYS),
    )
    assert record.status().seconds == 0
    assert record.over(State.COMPLETED, 0).status().seconds == 0
