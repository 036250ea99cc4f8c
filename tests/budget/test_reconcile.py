import pytest

from pipeline.budget.ledger import Ledger
from pipeline.budget.reconcile import reconcile
from pipeline.budget.record import Kind, Record
from pipeline.job import JobStatus, State
from pipeline.site import Role, Site

SITE = Site.model_validate(
    {
        "name": "here",
        "title": "Here",
        "as_of": "2026-11-01",
        "scheduler": "slurm",
        "accelerator": "cuda",
        "nodes": {"gpu": {"devices": 4, "cpus_per_device": 32}},
        "qos": {"half": {"max_minutes": 60, "charge": [{"factor": 0.5}]}},
        "training": {"node": "gpu", "qos": "half"},
        "pilot": {"role": {"node": "gpu"}, "workers_per_node": 1, "walltime_minutes": 10},
    }
)


def record(kind, when, **more):
    fields = {"site": "here", "stage": "pretrain", "task": "pretrain/m0", "job_key": "m0-1"}
    return Record(kind=kind, time=when, **(fields | more))


def role_of(account):
    return SITE.training if account.stage == "pretrain" else Role(node="gpu")


def done(**more):
    fields = {"id": "71", "key": "m0-1", "state": State.COMPLETED, "nodes": 2, "seconds": 1800}
    return JobStatus(**(fields | {"start": 100, "end": 1900} | more))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append(record(Kind.RESERVE, 1, node_hours=3, nodes=2))
    ledger.append(record(Kind.SUBMIT, 2, job_id="71"))
    return ledger


def test_a_job_that_ended_unseen_gets_its_start_and_end(ledger):
    written = reconcile(ledger, {"m0-1": done()}, SITE, role_of)
    assert [each.kind for each in written] == ["start", "end"]
    account = ledger.accounts()["m0-1"]
    assert (account.start, account.end, account.seconds) == (100, 1900, 1800)
    assert account.charged_node_hours == 0.5
    assert account.reserved_node_hours == 0
    assert account.state == "completed"


def test_doing_it_twice_adds_nothing(ledger):
    reconcile(ledger, {"m0-1": done()}, SITE, role_of)
    assert reconcile(ledger, {"m0-1": done()}, SITE, role_of) == []


def test_a_running_job_gets_its_start_and_keeps_its_reservation(ledger):
    running = done(state=State.RUNNING, end=None, seconds=5)
    assert [each.kind for each in reconcile(ledger, {"m0-1": running}, SITE, role_of)] == ["start"]
    assert ledger.accounts()["m0-1"].reserved_node_hours == 3


def test_where_seconds_differ_accounting_is_right_and_the_drift_is_told(ledger):
    ledger.append(record(Kind.START, 100))
    ledger.append(
        record(Kind.END, 1950, seconds=1850, nodes=2, node_hours=1, state=State.COMPLETED)
    )
    (drift,) = reconcile(ledger, {"m0-1": done()}, SITE, role_of)
    assert drift.kind is Kind.RECONCILE
    assert drift.note == "seconds: ledger 1850, accounting 1800"
    assert ledger.accounts()["m0-1"].charged_node_hours == 0.5
    assert reconcile(ledger, {"m0-1": done()}, SITE, role_of) == []


def test_a_job_whose_submission_was_lost_is_found_again(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append(record(Kind.RESERVE, 1, node_hours=3))
    reconcile(ledger, {"m0-1": done()}, SITE, role_of)
    assert ledger.accounts()["m0-1"].job_id == "71"


def test_a_job_cancelled_before_its_start_costs_nothing(ledger):
    cancelled = done(state=State.CANCELLED, start=None, end=50, seconds=0, nodes=0)
    reconcile(ledger, {"m0-1": cancelled}, SITE, role_of)
    account = ledger.accounts()["m0-1"]
    assert (account.charged_node_hours, account.reserved_node_hours) == (0, 0)
    assert reconcile(ledger, {"m0-1": cancelled}, SITE, role_of) == []


def test_jobs_of_other_sites_and_unknown_jobs_are_left_alone(ledger):
    ledger.append(record(Kind.RESERVE, 1, site="there", job_key="far"))
    statuses = {"far": done(key="far"), "stranger": done(key="stranger")}
    assert reconcile(ledger, statuses, SITE, role_of) == []


def test_what_a_job_s_nodes_took_is_recorded_and_shared_like_its_hours(ledger):
    ledger.append(record(Kind.RESERVE, 1, job_key="part", batch_key="all", nodes=1))
    measured = done(nodes=4, energy_joules=8e6)
    reconcile(ledger, {"m0-1": measured, "part": measured}, SITE, role_of)
    accounts = ledger.accounts()
    assert accounts["m0-1"].energy_joules == 8e6
    assert accounts["part"].energy_joules == 2e6
