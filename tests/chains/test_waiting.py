"""Why jobs wait, by task: on the screen, in status and in JSON."""

import io
import json

import pytest
from rich.console import Console
from scheduler_fakes import Clock, FakeScheduler, pretraining, tiny_plan
from whole_campaign import TINY

from pipeline.chains import back_off, job_manager, waiting
from pipeline.chains.job_manager import JobManager
from pipeline.chains.progress import all_progress
from pipeline.chains.waiting import Queue, explained, waits
from pipeline.job import State
from pipeline.planning.plan import PILOT
from pipeline.records import Product
from pipeline.scheduler import SchedulerError
from pipeline.scheduler.accounting import from_queue
from pipeline.workflow.display import Display, table
from pipeline.writing import write_text

HELD = "You hold it. Release it: scontrol release 700"


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (job_manager, back_off, waiting):
        monkeypatch.setattr(module, "clock", clock)
    return clock


@pytest.fixture
def scheduler(monkeypatch):
    made = FakeScheduler()
    made.polls = 10**6
    monkeypatch.setattr(waiting, "connect", lambda *_: made)
    return made


@pytest.fixture
def manager(tmp_path, scheduler, clock):
    made = JobManager(tiny_plan(tmp_path, "testbed", project="m4722"), scheduler)
    made.plan.run.identify()
    return made


def submitted(manager, number=1):
    """Submit the pretraining's link `number`; return its id."""
    step = pretraining(manager.plan)
    job = manager.plan.link(step, number)
    write_text(job.script, "")
    return manager.submit(job, stage="pretrain", task_key=step.task.key)


def says(scheduler, job_id, word, reason):
    """Let squeue print a state and a reason for a job."""
    key = scheduler.jobs[job_id].key
    (row,) = from_queue([f"{job_id}|{word}|1|900|1000|{reason}|{key}"])
    scheduler.jobs[job_id] = row.status


def rows_of(manager):
    """The tasks' progress with what is known of the queue now, by task."""
    tasks = [step.task for step in manager.plan.steps]
    job_manager.clock.sleep(manager.plan.site.poll_seconds + 1)
    manager.poll()
    rows = explained(all_progress(tasks, manager.plan.run), tasks, manager.waits, manager.plan.site)
    return {row.key: row for row in rows}


def shown(row):
    """What the table prints of a row."""
    stream = io.StringIO()
    Console(file=stream, width=200).print(table([row]))
    return stream.getvalue()


def test_a_task_shows_why_its_job_waits_and_what_to_type(manager, scheduler):
    says(scheduler, submitted(manager), "PENDING", "JobHeldUser")
    row = rows_of(manager)[pretraining(manager.plan).task.key]
    assert (row.state, row.job_id, row.reason, row.advice) == ("queued", "700", "JobHeldUser", HELD)
    assert row.is_stuck
    assert f"queued job 700: JobHeldUser. {HELD}" in shown(row)


def test_of_a_chain_s_jobs_the_first_counts(manager, scheduler):
    first, second = submitted(manager), submitted(manager, 2)
    says(scheduler, first, "RUNNING", "None")
    says(scheduler, second, "PENDING", "Dependency")
    assert rows_of(manager)[pretraining(manager.plan).task.key].reason == ""
    says(scheduler, first, "SUSPENDED", "None")
    assert rows_of(manager)[pretraining(manager.plan).task.key].reason == "SUSPENDED"
    scheduler.jobs[first] = scheduler.jobs[first].model_copy(update={"state": State.COMPLETED})
    assert rows_of(manager)[pretraining(manager.plan).task.key].reason == "Dependency"


def test_a_job_that_was_put_back_and_is_held_is_queued_again(manager, scheduler):
    job_id = submitted(manager)
    manager.plan.link(pretraining(manager.plan), 1).log.write_text("it ran\n")
    says(scheduler, job_id, "REQUEUE_HOLD", "job requeued in held state")
    row = rows_of(manager)[pretraining(manager.plan).task.key]
    assert (row.state, row.reason, row.is_stuck) == ("queued", "REQUEUE_HOLD", True)
    assert "scontrol release 700" in row.advice
    assert not manager.is_lost(job_id)


def test_tasks_that_wait_for_a_pilot_show_why_it_waits(manager, scheduler):
    job = manager.plan.pilot(["process_worker_pool.py"], 1)
    job_id = manager.submit(job, stage=PILOT, task_key=PILOT)
    says(scheduler, job_id, "PENDING", "Priority")
    found = rows_of(manager)
    told = {row.key for row in found.values() if row.reason == "Priority"}
    first = {step.task.key for step in manager.plan.steps if not step.task.needs}
    assert told == {key for key in first if key.startswith("simulate/")}
    assert "pilot 700: Priority. Nothing: other jobs are ahead of it." in shown(found[min(told)])


def test_another_s_job_with_our_id_is_told(manager, scheduler):
    job_id = submitted(manager)
    scheduler.jobs[job_id] = scheduler.jobs[job_id].model_copy(update={"key": "other"})
    row = rows_of(manager)[pretraining(manager.plan).task.key]
    assert "knows only another job with the id 700 (other)" in row.reason


def test_without_a_terminal_only_what_never_starts_is_a_line_of_its_own(manager, scheduler):
    job_id = submitted(manager)
    stream = io.StringIO()
    reasons = iter(["Priority", "Resources", "Priority", "JobHeldUser", "JobHeldUser"])

    def poll():
        says(scheduler, job_id, "PENDING", next(reasons, "JobHeldUser"))
        return list(rows_of(manager).values())

    with Display(Console(file=stream, width=200), poll, interval_seconds=0) as display:
        for _ in range(5):
            display._next_poll = 0.0
            display.update()
    lines = [line for line in stream.getvalue().splitlines() if "job 700" in line]
    assert [line.split("job 700: ")[1].split(".")[0] for line in lines] == [
        "Priority",
        "JobHeldUser",
    ]


def test_what_is_done_or_has_failed_waits_for_nothing(manager, scheduler):
    says(scheduler, submitted(manager), "PENDING", "JobHeldUser")
    key = pretraining(manager.plan).task.key
    manager.plan.run.task(key).finish(Product())
    assert rows_of(manager)[key].reason == ""


def test_a_job_of_which_nothing_is_said_has_no_reason(manager):
    submitted(manager)
    assert waits(manager.unended(), {}) == {}


def test_status_asks_the_queue_at_most_once_in_a_polling_interval(manager, scheduler, clock):
    queue = Queue(manager.plan.run, manager.plan.site)
    assert queue.waits() == {}
    assert scheduler.asked == [], "nothing was submitted"
    says(scheduler, submitted(manager), "PENDING", "JobHeldUser")
    clock.sleep(manager.plan.site.poll_seconds)
    for _ in range(3):
        assert queue.waits()[pretraining(manager.plan).task.key].reason == "JobHeldUser"
    assert len(scheduler.asked) == 1


def test_a_machine_without_a_queue_is_not_asked(manager, scheduler):
    submitted(manager)
    local = manager.plan.site.model_copy(update={"scheduler": "local"})
    assert Queue(manager.plan.run, local).waits() == {}
    assert scheduler.asked == []


def test_status_prints_the_reason_in_json_too(manager, scheduler, cosmotron, tmp_path):
    says(scheduler, submitted(manager), "SPECIAL_EXIT", "None")
    there = ("--site", "testbed", "--root", tmp_path)
    rows = json.loads(cosmotron("status", TINY, *there, "--json").out)
    (row,) = [each for each in rows if each["reason"]]
    assert row["key"] == pretraining(manager.plan).task.key
    assert (row["job_id"], row["reason"], row["is_stuck"]) == ("700", "SPECIAL_EXIT", True)
    assert "scontrol release 700" in row["advice"]
    assert "scontrol release 700" in " ".join(cosmotron("status", TINY, *there).out.split())


def test_status_works_where_the_scheduler_does_not_answer(
    manager, scheduler, cosmotron, tmp_path, monkeypatch
):
    submitted(manager)

    def silent(_):
        raise SchedulerError("squeue: no such command. Is this a login node of the site?")

    monkeypatch.setattr(scheduler, "query", silent)
    told = cosmotron("status", TINY, "--site", "testbed", "--root", tmp_path, "--json")
    assert told.code == 0
    assert "Why jobs wait is not known: squeue: no such command." in told.words
    assert all(each["reason"] == "" for each in json.loads(told.out))
