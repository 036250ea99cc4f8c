"""Links of several trainings in one job: begun together, judged apart, continued as they fit."""

from dataclasses import replace
from pathlib import Path

import pytest
from ledgers import without
from scheduler_fakes import Clock, FakeScheduler

from pipeline.budget.record import Kind
from pipeline.campaign import declare, load_campaign
from pipeline.chains import back_off, history, job_manager, link_settings
from pipeline.chains import continuation as succession
from pipeline.chains.continuation import begin_together, onward, record_part_end
from pipeline.chains.job_manager import JobManager
from pipeline.chains.submission import Share
from pipeline.chains.watch import Watchers
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.planning.plan import RunOptions, make_plan
from pipeline.records import Product
from pipeline.run import Run
from pipeline.scheduler import NotNowError
from pipeline.site import load_site
from pipeline.workflow.controller import _not_needed

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(job_manager, "clock", made)
    monkeypatch.setattr(back_off, "clock", made)
    return made


@pytest.fixture
def scheduler():
    made = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    made.polls = 1
    return made


@pytest.fixture
def manager(tmp_path, scheduler, monkeypatch, clock):
    """A manager whose plan is one bundle of two trainings with four links each."""
    run = Run(tmp_path, "ladder")
    tasks = load_campaign(str(LADDER)).tasks(run)
    plan = make_plan(tasks, run, load_site("testbed-frontier"), RunOptions(project="nph000"))
    steps = [replace(step, links=4) for step in plan.steps if step.bundle]
    for step in steps:
        declare(run.task(step.task.key), step.task)
        link_settings.write(plan, step)
    monkeypatch.setattr(succession, "connect", lambda *_: scheduler)
    monkeypatch.setattr(succession, "SETTLE_SECONDS", 0.2)
    return JobManager(replace(plan, steps=steps), scheduler)


@pytest.fixture
def folders(manager):
    return [manager.plan.run.task(step.task.key) for step in manager.plan.steps]


@pytest.fixture
def watchers(manager):
    return Watchers(manager)


def look(watchers, clock):
    """Let the controller look once more."""
    clock.sleep(watchers.manager.plan.site.poll_seconds + 1)
    watchers._next_poll = 0.0
    watchers.advance()


@pytest.fixture
def running(manager, watchers, clock, monkeypatch):
    """The futures of both trainings, whose first links run in job 700."""
    futures = [watchers.add(step) for step in manager.plan.steps]
    look(watchers, clock)
    monkeypatch.setenv("COSMOTRON_JOB_ID", "700")
    return futures


def links(folders, number=1):
    return [(folder, number) for folder in folders]


def charged(manager, job_id):
    found = [each for each in manager.ledger.accounts().values() if each.job_id == job_id]
    return sum(each.charged_node_hours for each in found)


def test_trainings_of_a_bundle_are_one_job_with_a_share_each(manager, scheduler, running, folders):
    (job,) = scheduler.jobs.values()
    assert job.nodes == 2
    accounts = manager.ledger.accounts().values()
    assert {(each.job_id, each.batch_key, each.nodes) for each in accounts} == {("700", job.key, 1)}
    assert sum(each.reserved_node_hours for each in accounts) == pytest.approx(2 * 5 / 60)
    for folder in folders:
        (script,) = folder.logs.glob("*.sbatch")
        assert script.resolve() == manager.plan.run.bundles / f"{job.key}.sbatch"


def test_a_bundle_waits_for_who_may_still_join(manager, scheduler, watchers, clock):
    first, second = manager.plan.steps
    watchers.add(first)
    look(watchers, clock)
    assert not scheduler.jobs
    watchers.add(second)
    look(watchers, clock)
    assert scheduler.jobs["700"].nodes == 2


def test_who_cannot_join_any_more_is_not_waited_for(manager, scheduler, watchers, clock):
    first, second = manager.plan.steps
    watchers.add(first)
    look(watchers, clock)
    watchers.forget([second.task.key])
    look(watchers, clock)
    assert scheduler.jobs["700"].key == manager.plan.link(first, 1).key, (
        "alone it is a job like others"
    )


def test_a_full_queue_is_waited_for(manager, scheduler, watchers, clock, monkeypatch):
    def full(*_, **__):
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "submit", full)
        futures = [watchers.add(step) for step in manager.plan.steps]
        look(watchers, clock)
    assert not any(future.done() for future in futures)
    for _ in range(3):
        look(watchers, clock)
    assert len(scheduler.jobs) == 1


def test_a_refused_bundle_fails_both(manager, scheduler, watchers, clock):
    scheduler.refuses = True
    futures = [watchers.add(step) for step in manager.plan.steps]
    look(watchers, clock)
    assert [str(future.exception()) for future in futures] == ["sbatch: error: Invalid qos"] * 2
    assert all(each.reserved_node_hours == 0 for each in manager.ledger.accounts().values())


def test_the_next_job_is_for_those_that_begin(scheduler, running, folders, capsys):
    words = [word for folder in folders for word in (str(folder.path), "1")]
    assert succession.main("begin", *words) == succession.WANTED
    assert capsys.readouterr().out == "1 2\n"
    assert scheduler.jobs["701"].nodes == 2
    assert "--dependency=afterany:700" in scheduler.scripts[scheduler.jobs["701"].key]


def test_who_is_done_already_does_not_run(scheduler, running, folders):
    folders[0].finish(Product())
    assert begin_together(links(folders)) == [2]
    assert scheduler.jobs["701"].nodes == 1


def test_who_goes_on_has_a_job_already(manager, scheduler, running, folders):
    begin_together(links(folders))
    for folder in folders:
        (folder.checkpoints / "step-8").mkdir(parents=True)
        record_part_end(folder, 1, Exit.CONTINUE)
    onward(links(folders))
    assert list(scheduler.jobs) == ["700", "701"]
    assert not scheduler.cancelled


def test_who_is_done_leaves_and_the_next_job_is_narrower(manager, scheduler, running, folders):
    begin_together(links(folders))
    folders[0].finish(Product())
    record_part_end(folders[0], 1, Exit.FINISHED)
    (folders[1].checkpoints / "step-8").mkdir(parents=True)
    record_part_end(folders[1], 1, Exit.CONTINUE)
    onward(links(folders))
    assert scheduler.cancelled == ["701"]
    assert scheduler.jobs["702"].nodes == 1
    assert scheduler.jobs["702"].key == manager.plan.link(manager.plan.steps[1], 3).key


def test_a_bundle_that_is_done_leaves_nothing(scheduler, running, folders):
    begin_together(links(folders))
    for folder in folders:
        folder.finish(Product())
        record_part_end(folder, 1, Exit.FINISHED)
    onward(links(folders))
    assert scheduler.cancelled == ["701"]
    assert list(scheduler.jobs) == ["700", "701"]


def test_a_killed_part_is_judged_though_its_job_goes_on(running, folders):
    """The scheduler will say that the job is completed, which says nothing of it."""
    begin_together(links(folders))
    record_part_end(folders[0], 1, 137)
    assert history.read(folders[0])[0].outcome == "killed"
    assert history.read(folders[1])[0].is_open


def test_one_that_fails_for_good_stops_nobody_else(manager, scheduler, running, folders):
    begin_together(links(folders))
    folders[0].fail("diverged", "The loss is nan after 8 events.")
    record_part_end(folders[0], 1, Exit.DIVERGED)
    (folders[1].checkpoints / "step-8").mkdir(parents=True)
    record_part_end(folders[1], 1, Exit.CONTINUE)
    onward(links(folders))
    assert scheduler.jobs["702"].key == manager.plan.link(manager.plan.steps[1], 3).key


def test_a_training_is_done_before_its_bundle_is(scheduler, watchers, running, folders, clock):
    begin_together(links(folders))
    folders[0].finish(Product())
    record_part_end(folders[0], 1, Exit.FINISHED)
    look(watchers, clock)
    assert [future.done() for future in running] == [True, False]


def test_a_job_that_one_of_its_trainings_needs_is_kept(manager, running, folders):
    folders[0].finish(Product())
    assert _not_needed(manager) == []
    folders[1].finish(Product())
    assert _not_needed(manager) == ["700"]


def test_the_job_is_charged_once_by_the_nodes_of_each(manager, scheduler, running):
    scheduler.ends = {"state": State.COMPLETED, "exit_code": 0}
    scheduler.end("700", **scheduler.ends)
    manager.settle()
    assert charged(manager, "700") == pytest.approx(2 * 1800 / 3600)
    accounts = manager.ledger.accounts().values()
    assert [(each.nodes, each.seconds) for each in accounts] == [(1, 1800)] * 2


def test_a_job_that_died_is_judged_by_the_next(manager, scheduler, running, folders, monkeypatch):
    begin_together(links(folders))
    scheduler.end("700", state=State.NODE_FAIL, exit_code=None)
    monkeypatch.setenv("COSMOTRON_JOB_ID", "701")
    assert begin_together(links(folders, 2)) == [1, 2]
    assert [history.read(folder)[0].outcome for folder in folders] == ["node_fail"] * 2
    assert charged(manager, "700") == pytest.approx(2 * 1800 / 3600)


def test_a_controller_goes_on_with_the_job_that_the_bundle_submitted(
    manager, scheduler, watchers, running, folders, clock
):
    begin_together(links(folders))
    for folder in folders:
        (folder.checkpoints / "step-8").mkdir(parents=True)
        record_part_end(folder, 1, Exit.CONTINUE)
    onward(links(folders))
    scheduler.end("700", state=State.COMPLETED, exit_code=0)
    for _ in range(3):
        look(watchers, clock)
    assert list(scheduler.jobs) == ["700", "701"]
    for folder in folders:
        folder.finish(Product())
    scheduler.end("701", state=State.COMPLETED, exit_code=0)
    look(watchers, clock)
    assert all(future.done() for future in running)


def test_a_bundle_whose_answer_was_lost_is_found_again(manager, scheduler, running):
    """The controller was killed between sbatch's answer and the ledger."""
    again = JobManager(manager.plan, scheduler, without(manager.ledger.folder, Kind.SUBMIT))
    assert again.recover() == 1
    assert {each.job_id for each in again.ledger.accounts().values()} == {"700"}


def test_links_that_were_tried_together_are_not_submitted_apart(manager, scheduler, running):
    manager.ledger = without(manager.ledger.folder, Kind.SUBMIT)
    step = manager.plan.steps[0]
    link = manager.plan.link(step, 1)
    with pytest.raises(NotNowError, match="one of its links is already in another job"):
        manager.submit_bundle(link, [Share(link, "pretrain", step.task.key)])
    assert list(scheduler.jobs) == ["700"]
    assert manager.submit(link, stage="pretrain", task_key=step.task.key) == "700"


def test_a_part_that_came_twice_is_charged_its_share(
    manager, scheduler, running, folders, monkeypatch
):
    begin_together(links(folders))
    first = manager.plan.link(manager.plan.steps[0], 1)
    job = manager.plan.bundle([(step, 1) for step in manager.plan.steps])
    twin = scheduler.submit(job, "")
    monkeypatch.setenv("COSMOTRON_JOB_ID", twin)
    monkeypatch.setenv("COSMOTRON_JOB_KEY", job.key)
    assert begin_together(links(folders)) == []
    scheduler.end(twin, state=State.COMPLETED, exit_code=0)
    manager.settle()
    assert charged(manager, twin) == pytest.approx(2 * 1800 / 3600)
    assert first.key + "+" + twin in manager.ledger.accounts()
