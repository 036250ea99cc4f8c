"""The ledger follows accounting without a controller, and after its records were lost."""

import shutil

import pytest
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan
from whole_campaign import TINY

import pipeline.scheduler
from pipeline import records
from pipeline.budget.cost import node_hours
from pipeline.budget.ledger import Ledger
from pipeline.campaign import declare
from pipeline.chains import continuation, link_settings
from pipeline.chains.job_manager import JobManager
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.planning.selection import Part
from pipeline.records import LinkRecord
from pipeline.workflow import controller


@pytest.fixture
def scheduler(monkeypatch):
    made = FakeScheduler()
    made.polls = 10**6
    for module in (pipeline.scheduler, continuation, controller):
        monkeypatch.setattr(module, "connect", lambda *_: made)
    return made


@pytest.fixture
def manager(tmp_path, scheduler):
    plan = tiny_plan(tmp_path, "testbed", project="m4722")
    plan.run.identify()
    return JobManager(plan, scheduler)


@pytest.fixture
def job(manager):
    """A link of a pretraining that runs."""
    step = pretraining(manager.plan)
    folder = manager.plan.run.task(step.task.key)
    declare(folder, step.task)
    link_settings.write(manager.plan, step)
    job = manager.plan.link(step, 1)
    job_id = manager.submit(job, stage="pretrain", task_key=step.task.key)
    job.script.parent.mkdir(parents=True, exist_ok=True)
    job.script.write_text("")
    return job, job_id, folder


@pytest.fixture
def verb(cosmotron, tmp_path):
    def run(name, *words):
        return cosmotron(name, TINY, "--site", "testbed", "--root", tmp_path, *words)

    return run


def account_of(manager, job):
    return Ledger(manager.plan.run.ledger).accounts()[job.key]


def price(manager, link, seconds):
    site, role = manager.plan.site, manager.plan.training_role
    return node_hours(site, role, nodes=link.nodes, seconds=seconds)


@pytest.mark.parametrize("words", [("budget",), ("status", "--settle"), ("run", "--yes")])
def test_what_ended_while_no_controller_lived_is_charged(
    manager, scheduler, job, verb, words, monkeypatch
):
    monkeypatch.setattr(controller, "write_report", lambda *_: None)
    link, job_id, _ = job
    scheduler.end(job_id, state=State.COMPLETED, exit_code=0)
    if words[0] == "run":
        monkeypatch.setattr(Part, "to_do", [])  # all is done
    told = verb(*words)
    assert told.code == 0, told.words
    account = account_of(manager, link)
    assert (account.state, account.charged_node_hours) == ("completed", price(manager, link, 1800))
    assert account.reserved_node_hours == 0


def test_where_accounting_does_not_answer_the_ledger_is_shown_and_why(scheduler, job, verb):
    scheduler.is_silent = True
    told = verb("budget")
    assert told.code == 0
    assert "The ledger is not settled: sacct: error: slurmdbd not responding" in told.words
    assert "1 submitted" in told.words


def test_a_link_records_its_own_end_and_accounting_has_the_last_word(
    manager, scheduler, job, monkeypatch
):
    link, job_id, folder = job
    monkeypatch.setenv("COSMOTRON_JOB_ID", job_id)
    monkeypatch.setenv("COSMOTRON_STARTED", "1000000")
    monkeypatch.setattr("pipeline.chains.settlement.clock.time", lambda: 1_001_200.0)
    assert continuation.main("end", str(folder.path), "1", "85") == Exit.FINISHED
    account = account_of(manager, link)
    assert (account.seconds, account.charged_node_hours) == (1200, price(manager, link, 1200))
    reserved = price(manager, link, 60 * link.walltime_minutes)
    held = account.charged_node_hours + account.reserved_node_hours
    assert held == pytest.approx(max(reserved, account.charged_node_hours))
    scheduler.end(job_id, state=State.FAILED, exit_code=85, seconds=1210)
    assert [str(each.kind) for each in manager.settle()] == ["reconcile"]
    account = account_of(manager, link)
    assert (account.seconds, account.reserved_node_hours) == (1210, 0.0)
    assert manager.settle() == []


def test_a_clock_that_goes_back_two_days_charges_nothing_and_ends_in_no_traceback(
    manager, job, monkeypatch
):
    link, job_id, folder = job
    monkeypatch.setenv("COSMOTRON_JOB_ID", job_id)
    monkeypatch.setenv("COSMOTRON_STARTED", "1172800")
    monkeypatch.setattr("pipeline.chains.settlement.clock.time", lambda: 1_000_000.0)
    assert continuation.main("end", str(folder.path), "1", "0") == Exit.FINISHED
    assert account_of(manager, link).seconds == 0


def test_the_next_link_settles_the_one_before(manager, scheduler, job, monkeypatch):
    link, job_id, folder = job
    monkeypatch.setenv("COSMOTRON_JOB_ID", job_id)
    monkeypatch.setenv("COSMOTRON_STARTED", "1000000")
    continuation.main("end", str(folder.path), "1", "85")
    assert account_of(manager, link).provisional
    scheduler.end(job_id, state=State.FAILED, exit_code=85, seconds=1210)
    monkeypatch.setenv("COSMOTRON_JOB_ID", "900")
    continuation.main("begin", str(folder.path), "2")
    assert not account_of(manager, link).provisional


@pytest.mark.parametrize("damage", ["removed", "emptied", "cleared"])
def test_a_ledger_that_lost_records_is_an_error_and_recovered(
    manager, scheduler, job, verb, damage
):
    link, job_id, _ = job
    scheduler.end(job_id, state=State.COMPLETED, exit_code=0)
    manager.settle()
    expected = account_of(manager, link)
    ledger = manager.plan.run.ledger
    if damage == "removed":
        shutil.rmtree(ledger)
    for path in sorted(ledger.glob("*.json")):
        path.write_text("") if damage == "emptied" else path.unlink()
    told = verb("budget")
    assert told.code == Exit.BUSY
    assert "Type: cosmotron budget CAMPAIGN --recover" in told.words
    told = verb("budget", "--recover")
    assert told.code == 0, told.words
    assert "4 record(s) were lost" in told.words
    assert "1 job(s) were found again" in told.words
    found = account_of(manager, link)
    assert (found.job_id, found.seconds, found.charged_node_hours, found.state) == (
        *(expected.job_id, expected.seconds, expected.charged_node_hours),
        expected.state,
    )
    assert verb("budget").code == 0


def test_of_a_job_that_the_scheduler_forgot_its_link_knows_the_hours(
    manager, scheduler, job, verb, monkeypatch
):
    link, job_id, folder = job
    times = {"began": 1e6, "first_step": 1e6 + 30, "last_step": 1e6 + 590, "ended": 1e6 + 600}
    record = LinkRecord(number=1, key=link.key, job_id=job_id, **times)
    records.write(folder.links / "001.json", record)
    scheduler.jobs.clear()
    monkeypatch.setattr(scheduler, "query", lambda _: {})
    shutil.rmtree(manager.plan.run.ledger)
    assert verb("budget", "--recover").code == 0
    account = account_of(manager, link)
    assert (account.state, account.seconds) == ("unknown", 600)
    assert account.charged_node_hours == price(manager, link, 600)
