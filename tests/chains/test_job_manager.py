"""The desk: every job passes here once, whoever asks how often, and into the ledger."""

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from desk_fakes import Clock, FakeScheduler, pretraining, tiny_plan
from parsl.jobs.states import JobState

from pipeline.chains import job_manager as desk_module
from pipeline.chains.job_manager import (
    SILENT_SECONDS,
    UNKNOWN_SECONDS,
    Desk,
    NoHoursError,
    StoppedError,
)
from pipeline.job import State
from pipeline.planning.plan import PILOT
from pipeline.scheduler import NotNowError, SchedulerError
from pipeline.workflow.pilots import PilotProvider
from pipeline.writing import write_json


@pytest.fixture
def clock(monkeypatch):
    """A clock in place of the desk's: waiting takes no time."""
    clock = Clock()
    monkeypatch.setattr(desk_module, "clock", clock)
    return clock


@pytest.fixture
def scheduler():
    return FakeScheduler()


@pytest.fixture
def desk(tmp_path, scheduler, clock):
    return make_desk(tmp_path, scheduler, clock)


def make_desk(root, scheduler, clock):
    made = Desk(tiny_plan(root, "perlmutter", project="m4722"), scheduler)
    made._stopping = SimpleNamespace(is_set=lambda: False, wait=clock.sleep, set=lambda: None)
    return made


def submit(desk, number=1):
    """Submit the pretraining's link `number`; return (job, id)."""
    step = pretraining(desk.plan)
    job = desk.plan.link(step, number)
    return job, desk.submit(job, stage="pretrain", task_key=step.task.key)


def wait(desk, job_id):
    """Return the job's last status when it is over and settled."""
    while not (status := desk.status(job_id)).state.is_over:
        desk_module.clock.sleep(desk.plan.site.poll_seconds + 1)
    desk.settle([job_id])
    return status


def kinds(desk):
    return [str(record.kind) for record in desk.ledger.records()]


def test_a_job_s_whole_life_stands_in_the_ledger(desk):
    job, job_id = submit(desk)
    reserved = desk.ledger.accounts()[job.key]
    assert reserved.reserved_node_hours == pytest.approx(5 / 60)
    assert reserved.job_id == job_id
    status = wait(desk, job_id)
    assert status.state is State.COMPLETED
    ended = desk.ledger.accounts()[job.key]
    assert (ended.state, ended.seconds, ended.charged_node_hours) == ("completed", 1800, 0.5)
    assert ended.reserved_node_hours == 0.0


def test_what_is_submitted_is_the_rendered_script(desk, scheduler):
    job, _ = submit(desk)
    assert job.key in scheduler.scripts[job.key]
    assert "pipeline.training.programs.pretrain" in scheduler.scripts[job.key]


def test_a_job_whose_key_is_known_is_adopted(desk, scheduler, clock, tmp_path):
    _, job_id = submit(desk)
    again = make_desk(tmp_path, scheduler, clock)
    assert submit(again)[1] == job_id
    assert len(scheduler.jobs) == 1
    assert kinds(again) == ["reserve", "submit"]


class Gone(BaseException):
    """The controller was killed."""


def test_a_controller_that_died_before_it_could_note_the_id_notes_it_now(
    desk, scheduler, monkeypatch
):
    def submit_and_die(*args, **kwargs):
        FakeScheduler.submit(scheduler, *args, **kwargs)
        raise Gone

    with monkeypatch.context() as patched:
        patched.setattr(scheduler, "submit", submit_and_die)
        with pytest.raises(Gone):
            submit(desk)
    assert submit(desk)[1] == "700"
    assert list(scheduler.jobs) == ["700"]
    assert kinds(desk) == ["reserve", "submit"]


def test_a_full_queue_is_left_alone_for_longer_each_time(desk, scheduler, clock, monkeypatch):
    asked = []

    def full(*_, **__):
        asked.append(clock.now)
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    with monkeypatch.context() as patched:
        patched.setattr(scheduler, "submit", full)
        for _ in range(300):
            with pytest.raises(NotNowError, match="QOSMaxSubmitJobPerUserLimit"):
                submit(desk)
            clock.sleep(10)
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert waits[:3] == sorted(waits[:3])
    assert waits[0] >= desk.plan.site.poll_seconds
    assert 300 < waits[-1] <= 20 * desk.plan.site.poll_seconds
    clock.sleep(601)
    submit(desk)
    assert desk.waits_because == ""


def test_room_is_what_the_queue_takes_without_what_is_there(tmp_path, scheduler, clock):
    desk = Desk(tiny_plan(tmp_path, "frontier", project="m1"), scheduler)
    before = desk.room()
    site = desk.plan.site
    assert before == site.submitted_jobs - site.pilot.max_blocks - site.packs.max_blocks
    submit(desk)
    assert desk.room() == before - 1


def test_a_job_that_was_submitted_twice_is_charged_too(desk, scheduler):
    job, job_id = submit(desk)
    twin = scheduler.submit(job, "", tried=False)
    desk.note_twin(job, twin, stage="pretrain", task_key=pretraining(desk.plan).task.key)
    scheduler.polls = 1
    desk.settle()
    accounts = desk.ledger.accounts()
    assert {each.job_id for each in accounts.values() if each.end} == {job_id, twin}
    assert desk.next_number(pretraining(desk.plan).task.key) == 2, "it is no link of its own"


def test_a_refused_job_holds_no_hours(desk, scheduler):
    scheduler.refuses = True
    with pytest.raises(SchedulerError, match="Invalid qos"):
        submit(desk)
    account = next(iter(desk.ledger.accounts().values()))
    assert (account.state, account.reserved_node_hours) == ("released", 0.0)
    scheduler.refuses = False
    submit(desk)
    account = next(iter(desk.ledger.accounts().values()))
    assert account.state == "submitted"
    assert account.reserved_node_hours > 0


def test_a_cap_is_not_gone_beyond(tmp_path, scheduler, clock):
    plan = tiny_plan(tmp_path, "perlmutter", project="m4722", cap_node_hours=0.1)
    capped = Desk(plan, scheduler)
    submit(capped, 1)
    with pytest.raises(NoHoursError, match="node-hours"):
        submit(capped, 2)
    assert len(scheduler.jobs) == 1
    assert kinds(capped) == ["reserve", "submit"]


def test_a_controller_that_stops_waits_for_no_full_queue(tmp_path, scheduler, monkeypatch):
    def full(*_, **__):
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    desk = Desk(tiny_plan(tmp_path, "perlmutter"), scheduler)
    monkeypatch.setattr(scheduler, "submit", full)
    job = desk.plan.pilot(["process_worker_pool.py"], 1)
    ended = []

    def submit_a_pilot():
        with pytest.raises(StoppedError, match="not submitted, because the controller stops"):
            desk.submit_patiently(job, stage=PILOT, task_key=PILOT)
        ended.append(True)

    waiting = threading.Thread(target=submit_a_pilot)
    waiting.start()
    desk.stop()
    waiting.join(10)
    assert ended


def test_many_watchers_are_one_question(desk, scheduler, clock):
    ids = [submit(desk, number)[1] for number in (1, 2, 3)]
    for _ in range(10):
        for job_id in ids:
            desk.status(job_id)
    assert len(scheduler.asked) == 1
    assert sorted(scheduler.asked[0]) == ids
    clock.sleep(desk.plan.site.poll_seconds + 1)
    desk.status(ids[0])
    assert len(scheduler.asked) == 2


def test_what_is_over_is_not_asked_about_again(desk, scheduler, clock):
    first, second = submit(desk, 1)[1], submit(desk, 2)[1]
    scheduler.polls = 10**6
    scheduler.end(first, state=State.COMPLETED)
    for _ in range(3):
        clock.sleep(100)
        desk.status(second)
    assert scheduler.asked[-1] == [second]


def test_settling_twice_adds_nothing(desk, scheduler):
    _, job_id = submit(desk)
    scheduler.end(job_id, state=State.FAILED, exit_code=1)
    first = desk.settle()
    assert [str(record.kind) for record in first] == ["start", "end"]
    assert desk.settle() == []
    assert desk.settle([job_id]) == []


def test_what_accounting_takes_back_is_corrected(desk, scheduler):
    """As after a kill of slurmctld: the job had ended, and then it had not."""
    job, job_id = submit(desk)
    scheduler.end(job_id, state=State.NODE_FAIL, seconds=1800, end=time.time())
    desk.settle([job_id])
    before = desk.ledger.accounts()[job.key]
    assert desk.recheck() == []
    late = {"seconds": 5400, "end": time.time(), "state": State.TIMEOUT}
    scheduler.jobs[job_id] = scheduler.jobs[job_id].model_copy(update=late)
    (record,) = desk.recheck()
    after = desk.ledger.accounts()[job.key]
    assert (str(record.kind), record.seconds) == ("reconcile", 5400)
    assert (after.seconds, after.state) == (5400, str(State.TIMEOUT))
    assert after.charged_node_hours == pytest.approx(3 * before.charged_node_hours)
    assert desk.recheck() == []


def test_a_recheck_that_nobody_answers_changes_nothing(desk, scheduler):
    _, job_id = submit(desk)
    scheduler.end(job_id, state=State.COMPLETED, end=time.time())
    desk.settle([job_id])
    scheduler.is_silent = True
    assert desk.recheck() == []


def test_jobs_that_ended_days_ago_are_left_in_peace(desk, scheduler):
    _, job_id = submit(desk)
    scheduler.end(job_id, state=State.COMPLETED)
    desk.settle([job_id])
    asked = len(scheduler.asked)
    assert desk.recheck() == []
    assert len(scheduler.asked) == asked


def test_with_nothing_unended_the_scheduler_is_left_in_peace(desk, scheduler):
    assert desk.settle() == []
    assert scheduler.asked == []


def test_a_short_silence_of_accounting_is_waited_for(desk, scheduler, clock):
    _, job_id = submit(desk)
    scheduler.is_silent = True
    assert desk.status(job_id).state is State.UNKNOWN
    clock.sleep(SILENT_SECONDS / 2)
    assert desk.status(job_id).state is State.UNKNOWN
    scheduler.is_silent = False
    assert wait(desk, job_id).state is State.COMPLETED


def test_a_long_silence_is_an_error(desk, scheduler, clock):
    _, job_id = submit(desk)
    scheduler.is_silent = True
    clock.sleep(SILENT_SECONDS + 1)
    with pytest.raises(SchedulerError, match="slurmdbd not responding"):
        desk.status(job_id)


def test_cancelled_jobs_are_over_and_settled(desk, scheduler):
    job, job_id = submit(desk)
    desk.cancel([job_id])
    assert scheduler.cancelled == [job_id]
    assert desk.unended() == []
    assert desk.ledger.accounts()[job.key].state == "cancelled"


def test_a_job_that_the_scheduler_forgot_holds_no_hours(desk, scheduler, monkeypatch):
    job, job_id = submit(desk)
    monkeypatch.setattr(scheduler, "cancel", lambda _: scheduler.jobs.clear())
    desk.cancel([job_id])
    assert desk.unended() == []
    account = desk.ledger.accounts()[job.key]
    assert (account.state, account.seconds, account.charged_node_hours) == ("unknown", 0, 0.0)


def test_a_pilot_that_the_scheduler_forgot_has_failed(desk, scheduler, clock, monkeypatch):
    job = desk.plan.pilot(["process_worker_pool.py"], 1)
    job_id = desk.submit(job, stage=PILOT, task_key=PILOT)
    provider = PilotProvider(desk, PILOT)
    monkeypatch.setattr(scheduler, "query", lambda _: {})
    assert provider.status([job_id])[0].state is JobState.PENDING
    clock.sleep(UNKNOWN_SECONDS + 1)
    assert provider.status([job_id])[0].state is JobState.FAILED
    assert desk.unended() == []
    assert desk.next_number(PILOT) == 2


def test_what_accounting_remembers_later_is_charged(desk, scheduler):
    job, job_id = submit(desk)
    desk.give_up([job_id])
    scheduler.end(job_id, **scheduler.ends)
    assert {each.kind for each in desk.recheck()} == {"start", "reconcile"}
    account = desk.ledger.accounts()[job.key]
    assert (account.state, account.seconds) == ("completed", 1800)
    assert account.charged_node_hours > 0


def test_while_the_scheduler_is_silent_hours_stay_reserved(desk, scheduler, monkeypatch):
    _, job_id = submit(desk)
    monkeypatch.setattr(scheduler, "cancel", lambda _: setattr(scheduler, "is_silent", True))
    with pytest.raises(SchedulerError):
        desk.cancel([job_id])
    assert [each.job_id for each in desk.unended()] == [job_id]


def test_cancelling_nothing_asks_nobody(desk, scheduler):
    desk.cancel([])
    assert scheduler.cancelled == []


def test_the_next_number_counts_what_has_ended(desk):
    step = pretraining(desk.plan)
    assert desk.next_number(step.task.key) == 1
    _, job_id = submit(desk)
    assert desk.next_number(step.task.key) == 1
    wait(desk, job_id)
    assert desk.next_number(step.task.key) == 2


def test_pilots_are_charged_to_their_own_queue(desk):
    job = desk.plan.pilot(["process_worker_pool.py"], 1)
    job_id = desk.submit(job, stage=PILOT, task_key=PILOT)
    account = desk.ledger.accounts()[job.key]
    assert desk.role_of(account) == desk.plan.site.pilot.role
    assert [each.job_id for each in desk.unended(PILOT)] == [job_id]
    assert desk.unended("pretrain") == []


def test_jobs_of_another_site_are_not_ours(desk, scheduler, tmp_path):
    submit(desk)
    elsewhere = Desk(tiny_plan(tmp_path, "frontier"), scheduler)
    assert elsewhere.unended() == []
    assert elsewhere.settle() == []


def test_what_ran_in_pilots_is_noted_once_and_charged_to_nobody(desk):
    tasks = [step.task for step in desk.plan.steps]
    simulation = next(task for task in tasks if task.stage == "simulate")
    desk.plan.run.task(simulation.key).finish({"seconds": 12.4})
    desk.note_pilot_tasks(tasks)
    desk.note_pilot_tasks(tasks)
    noted = [each for each in desk.ledger.accounts().values() if each.task == simulation.key]
    assert [(each.seconds, each.charged_node_hours) for each in noted] == [(12, 0.0)]
    assert len(desk.ledger.records()) == 1


def test_a_failed_pilot_task_is_not_noted(desk):
    tasks = [step.task for step in desk.plan.steps]
    write_json(desk.plan.run.task(tasks[0].key).result, {"outcome": "error", "message": "x"})
    desk.note_pilot_tasks(tasks)
    assert desk.ledger.records() == []
