"""The manager: every job passes here once, whoever asks how often, and into the ledger."""

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from parsl.jobs.states import JobState
from scheduler_fakes import Clock, FakeScheduler, pretraining, tiny_plan

from pipeline.chains import back_off, job_manager
from pipeline.chains.job_manager import (
    ANOTHER_SECONDS,
    OUTAGE_SECONDS,
    UNKNOWN_SECONDS,
    JobManager,
)
from pipeline.chains.submission import NoHoursError, StoppedError
from pipeline.job import State
from pipeline.planning.plan import PILOT
from pipeline.records import Product
from pipeline.scheduler import NotNowError, SchedulerError
from pipeline.scheduler.rows import unknown
from pipeline.workflow.pilots import PilotProvider
from pipeline.writing import write_json


@pytest.fixture
def clock(monkeypatch):
    """A clock in place of the manager's: waiting takes no time."""
    clock = Clock()
    monkeypatch.setattr(job_manager, "clock", clock)
    monkeypatch.setattr(back_off, "clock", clock)
    return clock


@pytest.fixture
def scheduler():
    return FakeScheduler()


@pytest.fixture
def manager(tmp_path, scheduler, clock):
    return make_manager(tmp_path, scheduler, clock)


def make_manager(root, scheduler, clock):
    made = JobManager(tiny_plan(root, "perlmutter", project="m4722"), scheduler)
    made._stopping = SimpleNamespace(is_set=lambda: False, wait=clock.sleep, set=lambda: None)
    return made


def submit(manager, number=1):
    """Submit the pretraining's link `number`; return (job, id)."""
    step = pretraining(manager.plan)
    job = manager.plan.link(step, number)
    return job, manager.submit(job, stage="pretrain", task_key=step.task.key)


def wait(manager, job_id):
    """Return the job's last status when it is over and settled."""
    while not (status := manager.status(job_id)).state.is_over:
        job_manager.clock.sleep(manager.plan.site.poll_seconds + 1)
    manager.settle([job_id])
    return status


def kinds(manager):
    return [str(record.kind) for record in manager.ledger.records()]


def test_a_job_s_whole_life_stands_in_the_ledger(manager):
    job, job_id = submit(manager)
    reserved = manager.ledger.accounts()[job.key]
    assert reserved.reserved_node_hours == pytest.approx(5 / 60)
    assert reserved.job_id == job_id
    status = wait(manager, job_id)
    assert status.state is State.COMPLETED
    ended = manager.ledger.accounts()[job.key]
    assert (ended.state, ended.seconds, ended.charged_node_hours) == ("completed", 1800, 0.5)
    assert ended.reserved_node_hours == 0.0


def test_what_is_submitted_is_the_rendered_script(manager, scheduler):
    job, _ = submit(manager)
    assert job.key in scheduler.scripts[job.key]
    assert "pipeline.training.programs.pretrain" in scheduler.scripts[job.key]


def test_a_job_whose_key_is_known_is_adopted(manager, scheduler, clock, tmp_path):
    _, job_id = submit(manager)
    again = make_manager(tmp_path, scheduler, clock)
    assert submit(again)[1] == job_id
    assert len(scheduler.jobs) == 1
    assert kinds(again) == ["reserve", "submit"]


class Gone(BaseException):
    """The controller was killed."""


def test_a_controller_that_died_before_it_could_note_the_id_notes_it_now(
    manager, scheduler, monkeypatch
):
    def submit_and_die(*args, **kwargs):
        FakeScheduler.submit(scheduler, *args, **kwargs)
        raise Gone

    with monkeypatch.context() as patched:
        patched.setattr(scheduler, "submit", submit_and_die)
        with pytest.raises(Gone):
            submit(manager)
    assert submit(manager)[1] == "700"
    assert list(scheduler.jobs) == ["700"]
    assert kinds(manager) == ["reserve", "submit"]


def test_a_full_queue_is_left_alone_for_longer_each_time(manager, scheduler, clock, monkeypatch):
    asked = []

    def full(*_, **__):
        asked.append(clock.now)
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    with monkeypatch.context() as patched:
        patched.setattr(scheduler, "submit", full)
        for _ in range(300):
            with pytest.raises(NotNowError, match="QOSMaxSubmitJobPerUserLimit"):
                submit(manager)
            clock.sleep(10)
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert waits[:3] == sorted(waits[:3])
    assert waits[0] >= manager.plan.site.poll_seconds
    assert 300 < waits[-1] <= 20 * manager.plan.site.poll_seconds
    clock.sleep(601)
    submit(manager)
    assert manager.refusal == ""


def test_room_is_what_the_queue_takes_without_what_is_there(tmp_path, scheduler, clock):
    manager = JobManager(tiny_plan(tmp_path, "frontier", project="m1"), scheduler)
    before = manager.room("")
    site = manager.plan.site
    pilots = sum(manager.plan.pilots(kind).max_blocks for kind in manager.plan.kinds)
    assert before == site.submitted_jobs - pilots
    submit(manager)
    assert manager.room("") == before - 1


def test_a_job_that_was_submitted_twice_is_charged_too(manager, scheduler):
    job, job_id = submit(manager)
    twin = scheduler.submit(job, "")
    manager.record_duplicate(
        job, twin, stage="pretrain", task_key=pretraining(manager.plan).task.key
    )
    scheduler.polls = 1
    manager.settle()
    accounts = manager.ledger.accounts()
    assert {each.job_id for each in accounts.values() if each.end} == {job_id, twin}
    assert manager.next_number(pretraining(manager.plan).task.key) == 2, "it is no link of its own"


def test_a_refused_job_holds_no_hours(manager, scheduler):
    scheduler.refuses = True
    with pytest.raises(SchedulerError, match="Invalid qos"):
        submit(manager)
    account = next(iter(manager.ledger.accounts().values()))
    assert (account.state, account.reserved_node_hours) == ("released", 0.0)
    scheduler.refuses = False
    submit(manager)
    account = next(iter(manager.ledger.accounts().values()))
    assert account.state == "submitted"
    assert account.reserved_node_hours > 0


def test_a_cap_is_not_gone_beyond(tmp_path, scheduler, clock):
    plan = tiny_plan(tmp_path, "perlmutter", project="m4722", cap_node_hours=0.1)
    capped = JobManager(plan, scheduler)
    submit(capped, 1)
    with pytest.raises(NoHoursError, match="node-hours"):
        submit(capped, 2)
    assert len(scheduler.jobs) == 1
    assert kinds(capped) == ["reserve", "submit"]


def test_a_controller_that_stops_waits_for_no_full_queue(tmp_path, scheduler, monkeypatch):
    def full(*_, **__):
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    manager = JobManager(tiny_plan(tmp_path, "perlmutter"), scheduler)
    monkeypatch.setattr(scheduler, "submit", full)
    job = manager.plan.pilot(["process_worker_pool.py"], 1)
    ended = []

    def submit_a_pilot():
        with pytest.raises(StoppedError, match="not submitted, because the controller stops"):
            manager.submit_when_possible(job, stage=PILOT, task_key=PILOT)
        ended.append(True)

    waiting = threading.Thread(target=submit_a_pilot)
    waiting.start()
    manager.stop()
    waiting.join(10)
    assert ended


def test_many_watchers_are_one_question(manager, scheduler, clock):
    ids = [submit(manager, number)[1] for number in (1, 2, 3)]
    for _ in range(10):
        for job_id in ids:
            manager.status(job_id)
    assert len(scheduler.asked) == 1
    assert sorted(scheduler.asked[0]) == ids
    clock.sleep(manager.plan.site.poll_seconds + 1)
    manager.status(ids[0])
    assert len(scheduler.asked) == 2


def test_what_is_over_is_not_asked_about_again(manager, scheduler, clock):
    first, second = submit(manager, 1)[1], submit(manager, 2)[1]
    scheduler.polls = 10**6
    scheduler.end(first, state=State.COMPLETED)
    for _ in range(3):
        clock.sleep(100)
        manager.status(second)
    assert scheduler.asked[-1] == [second]


def test_settling_twice_adds_nothing(manager, scheduler):
    _, job_id = submit(manager)
    scheduler.end(job_id, state=State.FAILED, exit_code=1)
    first = manager.settle()
    assert [str(record.kind) for record in first] == ["start", "end"]
    assert manager.settle() == []
    assert manager.settle([job_id]) == []


def test_what_accounting_takes_back_is_corrected(manager, scheduler):
    """As after a kill of slurmctld: the job had ended, and then it had not."""
    job, job_id = submit(manager)
    scheduler.end(job_id, state=State.NODE_FAIL, seconds=1800, end=time.time())
    manager.settle([job_id])
    before = manager.ledger.accounts()[job.key]
    assert manager.recheck() == []
    late = {"seconds": 5400, "end": time.time(), "state": State.TIMEOUT}
    scheduler.jobs[job_id] = scheduler.jobs[job_id].model_copy(update=late)
    (record,) = manager.recheck()
    after = manager.ledger.accounts()[job.key]
    assert (str(record.kind), record.seconds) == ("reconcile", 5400)
    assert (after.seconds, after.state) == (5400, str(State.TIMEOUT))
    assert after.charged_node_hours == pytest.approx(3 * before.charged_node_hours)
    assert manager.recheck() == []


def test_a_recheck_that_nobody_answers_changes_nothing(manager, scheduler):
    _, job_id = submit(manager)
    scheduler.end(job_id, state=State.COMPLETED, end=time.time())
    manager.settle([job_id])
    scheduler.is_silent = True
    assert manager.recheck() == []


def test_jobs_that_ended_days_ago_are_left_in_peace(manager, scheduler):
    _, job_id = submit(manager)
    scheduler.end(job_id, state=State.COMPLETED)
    manager.settle([job_id])
    asked = len(scheduler.asked)
    assert manager.recheck() == []
    assert len(scheduler.asked) == asked


def test_with_nothing_unended_the_scheduler_is_left_in_peace(manager, scheduler):
    assert manager.settle() == []
    assert scheduler.asked == []


def test_a_short_silence_of_accounting_is_waited_for(manager, scheduler, clock):
    _, job_id = submit(manager)
    scheduler.is_silent = True
    assert manager.status(job_id).state is State.UNKNOWN
    clock.sleep(OUTAGE_SECONDS / 2)
    assert manager.status(job_id).state is State.UNKNOWN
    scheduler.is_silent = False
    assert wait(manager, job_id).state is State.COMPLETED


def test_a_long_silence_is_an_error(manager, scheduler, clock):
    _, job_id = submit(manager)
    scheduler.is_silent = True
    clock.sleep(OUTAGE_SECONDS + 1)
    with pytest.raises(SchedulerError, match="slurmdbd not responding"):
        manager.status(job_id)


def test_cancelled_jobs_are_over_and_settled(manager, scheduler):
    job, job_id = submit(manager)
    manager.cancel([job_id])
    assert scheduler.cancelled == [job_id]
    assert manager.unended() == []
    assert manager.ledger.accounts()[job.key].state == "cancelled"


def test_another_s_job_with_the_same_id_is_neither_charged_nor_cancelled(manager, scheduler, clock):
    job, job_id = submit(manager)
    others = {"key": "my-other-simulation", "state": State.RUNNING, "nodes": 512}
    scheduler.jobs[job_id] = scheduler.jobs[job_id].model_copy(update=others)
    scheduler.polls = 10**6
    assert manager.status(job_id).state is State.UNKNOWN
    assert manager.settle() == []
    account = manager.ledger.accounts()[job.key]
    assert (account.nodes, account.start, account.charged_node_hours) == (1.0, None, 0.0)
    manager.cancel([job_id])
    assert scheduler.cancelled == []
    account = manager.ledger.accounts()[job.key]
    assert (account.state, account.reserved_node_hours) == ("unknown", 0.0)
    (lost,) = [each for each in manager.ledger.records() if each.kind == "end"]
    assert "another job with the id 700 (my-other-simulation)" in lost.note


def test_two_jobs_of_ours_that_had_one_id_are_both_settled(manager, scheduler, monkeypatch):
    """As after a controller that was installed anew: the ids begin again."""
    job, job_id = submit(manager, 1)
    first = scheduler.jobs.pop(job_id)
    later, again = submit(manager, 2)
    assert again == job_id
    ended = {"state": State.COMPLETED, "seconds": 1800, "end": 1_001_800}
    by_key = {
        first.key: first.model_copy(update=ended),
        later.key: scheduler.jobs[again].model_copy(update=ended | {"seconds": 3600}),
    }
    monkeypatch.setattr(scheduler, "query", lambda jobs: {each: by_key[each.key] for each in jobs})
    manager.settle()
    accounts = manager.ledger.accounts()
    assert [accounts[each.key].seconds for each in (job, later)] == [1800, 3600]


def test_a_key_is_looked_up_from_its_first_reservation_on(manager, scheduler, monkeypatch):
    asked = []
    monkeypatch.setattr(scheduler, "find", lambda key, since: asked.append((key, since)))
    scheduler.refuses = True
    with pytest.raises(SchedulerError):
        submit(manager)
    manager.recover()
    (record, _) = manager.ledger.records()
    assert asked == [(record.job_key, record.time)]


def test_a_job_that_the_scheduler_forgot_holds_no_hours(manager, scheduler, monkeypatch):
    job, job_id = submit(manager)
    monkeypatch.setattr(scheduler, "cancel", lambda _: scheduler.jobs.clear())
    manager.cancel([job_id])
    assert manager.unended() == []
    account = manager.ledger.accounts()[job.key]
    assert (account.state, account.seconds, account.charged_node_hours) == ("unknown", 0, 0.0)


def test_a_pilot_that_the_scheduler_forgot_has_failed(manager, scheduler, clock, monkeypatch):
    job = manager.plan.pilot(["process_worker_pool.py"], 1)
    job_id = manager.submit(job, stage=PILOT, task_key=PILOT)
    provider = PilotProvider(manager, PILOT)
    monkeypatch.setattr(scheduler, "query", lambda _: {})
    assert provider.status([job_id])[0].state is JobState.PENDING
    clock.sleep(UNKNOWN_SECONDS + 1)
    assert provider.status([job_id])[0].state is JobState.FAILED
    assert manager.unended() == []
    assert manager.next_number(PILOT) == 2


def test_a_job_that_is_gone_for_certain_is_lost_at_once(manager, scheduler, clock, monkeypatch):
    job, job_id = submit(manager)

    def gone(jobs):
        return {each: unknown(each).model_copy(update={"is_gone": True}) for each in jobs}

    monkeypatch.setattr(scheduler, "query", gone)
    began = clock.monotonic()
    assert manager.is_lost(job_id)
    manager.cancel([job_id])
    assert clock.monotonic() == began
    assert manager.ledger.accounts()[job.key].state == "unknown"
    assert manager.unended() == []


def test_a_job_whose_id_was_given_to_another_is_lost_in_half_a_minute(manager, scheduler, clock):
    """A scheduler that lost its state gives ids anew; nobody waits five minutes for ours."""
    job, job_id = submit(manager)
    scheduler.jobs[job_id] = scheduler.jobs[job_id].model_copy(update={"key": "other"})
    assert not manager.is_lost(job_id)
    clock.sleep(ANOTHER_SECONDS + 2)
    assert manager.is_lost(job_id)
    began = clock.monotonic()
    manager.cancel([job_id])
    assert clock.monotonic() - began < ANOTHER_SECONDS
    assert manager.ledger.accounts()[job.key].state == "unknown"
    assert scheduler.cancelled == [], "the other one is left alone"


def test_what_accounting_remembers_later_is_charged(manager, scheduler):
    job, job_id = submit(manager)
    manager.record_lost([job_id])
    scheduler.end(job_id, **scheduler.ends)
    assert {each.kind for each in manager.recheck()} == {"start", "reconcile"}
    account = manager.ledger.accounts()[job.key]
    assert (account.state, account.seconds) == ("completed", 1800)
    assert account.charged_node_hours > 0


def test_while_the_scheduler_is_silent_hours_stay_reserved(manager, scheduler, monkeypatch):
    _, job_id = submit(manager)
    monkeypatch.setattr(scheduler, "cancel", lambda _: setattr(scheduler, "is_silent", True))
    with pytest.raises(SchedulerError):
        manager.cancel([job_id])
    assert [each.job_id for each in manager.unended()] == [job_id]


def test_cancelling_nothing_asks_nobody(manager, scheduler):
    manager.cancel([])
    assert scheduler.cancelled == []


def test_the_next_number_counts_what_has_ended(manager):
    step = pretraining(manager.plan)
    assert manager.next_number(step.task.key) == 1
    _, job_id = submit(manager)
    assert manager.next_number(step.task.key) == 1
    wait(manager, job_id)
    assert manager.next_number(step.task.key) == 2


def test_pilots_are_charged_to_their_own_queue(manager):
    job = manager.plan.pilot(["process_worker_pool.py"], 1)
    job_id = manager.submit(job, stage=PILOT, task_key=PILOT)
    account = manager.ledger.accounts()[job.key]
    assert manager.role_of(account) == manager.plan.site.pilot.role
    assert [each.job_id for each in manager.unended(PILOT)] == [job_id]
    assert manager.unended("pretrain") == []


def test_jobs_of_another_site_are_not_ours(manager, scheduler, tmp_path):
    submit(manager)
    elsewhere = JobManager(tiny_plan(tmp_path, "frontier"), scheduler)
    assert elsewhere.unended() == []
    assert elsewhere.settle() == []


def test_what_ran_in_pilots_is_noted_once_and_charged_to_nobody(manager):
    tasks = [step.task for step in manager.plan.steps]
    simulation = next(task for task in tasks if task.stage == "simulate")
    manager.plan.run.task(simulation.key).finish(Product(seconds=12.4))
    manager.record_pilot_tasks(tasks)
    manager.record_pilot_tasks(tasks)
    noted = [each for each in manager.ledger.accounts().values() if each.task == simulation.key]
    assert [(each.seconds, each.charged_node_hours) for each in noted] == [(12, 0.0)]
    assert len(manager.ledger.records()) == 1


def test_a_failed_pilot_task_is_not_noted(manager):
    tasks = [step.task for step in manager.plan.steps]
    write_json(manager.plan.run.task(tasks[0].key).result, {"outcome": "error", "message": "x"})
    manager.record_pilot_tasks(tasks)
    assert manager.ledger.records() == []
