"""Links of several trainings in one job: begun together, judged apart, continued as they fit."""

from dataclasses import replace
from pathlib import Path

import pytest
from desk_fakes import Clock, FakeScheduler

from pipeline.campaign import declare, load_campaign
from pipeline.chains import continuation as succession
from pipeline.chains import history, order
from pipeline.chains import job_manager as desk_module
from pipeline.chains.continuation import begin_together, judge_part, onward
from pipeline.chains.job_manager import Desk, Share
from pipeline.chains.watch import Watchers
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.planning.plan import Asked, make_plan
from pipeline.run import Run
from pipeline.scheduler import NotNowError
from pipeline.site import load_site
from pipeline.workflow.controller import _not_needed

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(desk_module, "clock", made)
    return made


@pytest.fixture
def scheduler():
    made = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    made.polls = 1
    return made


@pytest.fixture
def desk(tmp_path, scheduler, monkeypatch, clock):
    """A desk whose plan has one bundle of two trainings, each of four links, and nothing else."""
    run = Run(tmp_path, "ladder")
    tasks = load_campaign(str(LADDER)).tasks(run)
    plan = make_plan(tasks, run, load_site("testbed-frontier"), Asked(project="nph000"))
    steps = [replace(step, links=4) for step in plan.steps if step.bundle]
    for step in steps:
        declare(run.task(step.task.key), step.task)
        order.give(plan, step)
    monkeypatch.setattr(succession, "connect", lambda *_: scheduler)
    monkeypatch.setattr(succession, "SETTLE_SECONDS", 0.2)
    return Desk(replace(plan, steps=steps), scheduler)


@pytest.fixture
def folders(desk):
    return [desk.plan.run.task(step.task.key) for step in desk.plan.steps]


@pytest.fixture
def watchers(desk):
    return Watchers(desk)


def look(watchers, clock):
    """Let the controller look once more."""
    clock.sleep(watchers.desk.plan.site.poll_seconds + 1)
    watchers._next_look = 0.0
    watchers.advance()


@pytest.fixture
def running(desk, watchers, clock, monkeypatch):
    """The futures of both trainings, whose first links run in job 700."""
    futures = [watchers.add(step) for step in desk.plan.steps]
    look(watchers, clock)
    monkeypatch.setenv("SLURM_JOB_ID", "700")
    return futures


def links(folders, number=1):
    return [(folder, number) for folder in folders]


def charged(desk, job_id):
    found = [each for each in desk.ledger.accounts().values() if each.job_id == job_id]
    return sum(each.charged_node_hours for each in found)


def test_trainings_of_a_bundle_are_one_job_with_a_share_each(desk, scheduler, running, folders):
    (job,) = scheduler.jobs.values()
    assert job.nodes == 2
    accounts = desk.ledger.accounts().values()
    assert {(each.job_id, each.batch_key, each.nodes) for each in accounts} == {("700", job.key, 1)}
    assert sum(each.reserved_node_hours for each in accounts) == pytest.approx(2 * 5 / 60)
    for folder in folders:
        (script,) = folder.logs.glob("*.sbatch")
        assert script.resolve() == desk.plan.run.bundles / f"{job.key}.sbatch"


def test_a_bundle_waits_for_who_may_still_join(desk, scheduler, watchers, clock):
    first, second = desk.plan.steps
    watchers.add(first)
    look(watchers, clock)
    assert not scheduler.jobs
    watchers.add(second)
    look(watchers, clock)
    assert scheduler.jobs["700"].nodes == 2


def test_who_cannot_join_any_more_is_not_waited_for(desk, scheduler, watchers, clock):
    first, second = desk.plan.steps
    watchers.add(first)
    look(watchers, clock)
    watchers.forget([second.task.key])
    look(watchers, clock)
    assert scheduler.jobs["700"].key == desk.plan.link(first, 1).key, (
        "alone it is a job like others"
    )


def test_a_full_queue_is_waited_for(desk, scheduler, watchers, clock, monkeypatch):
    def full(*_, **__):
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "submit", full)
        futures = [watchers.add(step) for step in desk.plan.steps]
        look(watchers, clock)
    assert not any(future.done() for future in futures)
    for _ in range(3):
        look(watchers, clock)
    assert len(scheduler.jobs) == 1


def test_a_refused_bundle_fails_both(desk, scheduler, watchers, clock):
    scheduler.refuses = True
    futures = [watchers.add(step) for step in desk.plan.steps]
    look(watchers, clock)
    assert [str(future.exception()) for future in futures] == ["sbatch: error: Invalid qos"] * 2
    assert all(each.reserved_node_hours == 0 for each in desk.ledger.accounts().values())


def test_the_next_job_is_for_those_that_begin(scheduler, running, folders, capsys):
    words = [word for folder in folders for word in (str(folder.path), "1")]
    assert succession.main("begin", *words) == succession.WANTED
    assert capsys.readouterr().out == "1 2\n"
    assert scheduler.jobs["701"].nodes == 2
    assert "--dependency=afterany:700" in scheduler.scripts[scheduler.jobs["701"].key]


def test_who_is_done_already_does_not_run(scheduler, running, folders):
    folders[0].finish({})
    assert begin_together(links(folders)) == [2]
    assert scheduler.jobs["701"].nodes == 1


def test_who_goes_on_has_a_job_already(desk, scheduler, running, folders):
    begin_together(links(folders))
    for folder in folders:
        (folder.checkpoints / "step-8").mkdir(parents=True)
        judge_part(folder, 1, Exit.CONTINUE)
    onward(links(folders))
    assert list(scheduler.jobs) == ["700", "701"]
    assert not scheduler.cancelled


def test_who_is_done_leaves_and_the_next_job_is_narrower(desk, scheduler, running, folders):
    begin_together(links(folders))
    folders[0].finish({})
    judge_part(folders[0], 1, Exit.FINISHED)
    (folders[1].checkpoints / "step-8").mkdir(parents=True)
    judge_part(folders[1], 1, Exit.CONTINUE)
    onward(links(folders))
    assert scheduler.cancelled == ["701"]
    assert scheduler.jobs["702"].nodes == 1
    assert scheduler.jobs["702"].key == desk.plan.link(desk.plan.steps[1], 3).key


def test_a_bundle_that_is_done_leaves_nothing(scheduler, running, folders):
    begin_together(links(folders))
    for folder in folders:
        folder.finish({})
        judge_part(folder, 1, Exit.FINISHED)
    onward(links(folders))
    assert scheduler.cancelled == ["701"]
    assert list(scheduler.jobs) == ["700", "701"]


def test_a_killed_part_is_judged_though_its_job_goes_on(running, folders):
    """The scheduler will say that the job is completed, which says nothing of it."""
    begin_together(links(folders))
    judge_part(folders[0], 1, 137)
    assert history.read(folders[0])[0].outcome == "killed"
    assert history.read(folders[1])[0].is_open


def test_one_that_fails_for_good_stops_nobody_else(desk, scheduler, running, folders):
    begin_together(links(folders))
    folders[0].fail("diverged", "The loss is nan after 8 events.")
    judge_part(folders[0], 1, Exit.DIVERGED)
    (folders[1].checkpoints / "step-8").mkdir(parents=True)
    judge_part(folders[1], 1, Exit.CONTINUE)
    onward(links(folders))
    assert scheduler.jobs["702"].key == desk.plan.link(desk.plan.steps[1], 3).key


def test_a_training_is_done_before_its_bundle_is(scheduler, watchers, running, folders, clock):
    begin_together(links(folders))
    folders[0].finish({})
    judge_part(folders[0], 1, Exit.FINISHED)
    look(watchers, clock)
    assert [future.done() for future in running] == [True, False]


def test_a_job_that_one_of_its_trainings_needs_is_kept(desk, running, folders):
    folders[0].finish({})
    assert _not_needed(desk) == []
    folders[1].finish({})
    assert _not_needed(desk) == ["700"]


def test_the_job_is_charged_once_by_the_nodes_of_each(desk, scheduler, running):
    scheduler.ends = {"state": State.COMPLETED, "exit_code": 0}
    scheduler.end("700", **scheduler.ends)
    desk.settle()
    assert charged(desk, "700") == pytest.approx(2 * 1800 / 3600)
    accounts = desk.ledger.accounts().values()
    assert [(each.nodes, each.seconds) for each in accounts] == [(1, 1800)] * 2


def test_a_job_that_died_is_judged_by_the_next(desk, scheduler, running, folders, monkeypatch):
    begin_together(links(folders))
    scheduler.end("700", state=State.NODE_FAIL, exit_code=None)
    monkeypatch.setenv("SLURM_JOB_ID", "701")
    assert begin_together(links(folders, 2)) == [1, 2]
    assert [history.read(folder)[0].outcome for folder in folders] == ["node_fail"] * 2
    assert charged(desk, "700") == pytest.approx(2 * 1800 / 3600)


def test_a_controller_goes_on_with_the_job_that_the_bundle_submitted(
    desk, scheduler, watchers, running, folders, clock
):
    begin_together(links(folders))
    for folder in folders:
        (folder.checkpoints / "step-8").mkdir(parents=True)
        judge_part(folder, 1, Exit.CONTINUE)
    onward(links(folders))
    scheduler.end("700", state=State.COMPLETED, exit_code=0)
    for _ in range(3):
        look(watchers, clock)
    assert list(scheduler.jobs) == ["700", "701"]
    for folder in folders:
        folder.finish({})
    scheduler.end("701", state=State.COMPLETED, exit_code=0)
    look(watchers, clock)
    assert all(future.done() for future in running)


def test_a_bundle_whose_answer_was_lost_is_found_again(desk, scheduler, running):
    """The controller was killed between sbatch's answer and the ledger."""
    for path in desk.ledger.folder.glob("*-submit-*.json"):
        path.unlink()
    again = Desk(desk.plan, scheduler)
    assert again.recover() == 1
    assert {each.job_id for each in again.ledger.accounts().values()} == {"700"}


def test_links_that_were_tried_together_are_not_submitted_apart(desk, scheduler, running):
    for path in desk.ledger.folder.glob("*-submit-*.json"):
        path.unlink()
    step = desk.plan.steps[0]
    link = desk.plan.link(step, 1)
    with pytest.raises(NotNowError, match="some of its links were submitted before"):
        desk.submit_bundle(link, [Share(link, "pretrain", step.task.key)])
    assert list(scheduler.jobs) == ["700"]
    assert desk.submit(link, stage="pretrain", task_key=step.task.key) == "700"


def test_a_part_that_came_twice_is_charged_its_share(
    desk, scheduler, running, folders, monkeypatch
):
    begin_together(links(folders))
    first = desk.plan.link(desk.plan.steps[0], 1)
    job = desk.plan.bundle([(step, 1) for step in desk.plan.steps])
    twin = scheduler.submit(job, "", tried=False)
    monkeypatch.setenv("SLURM_JOB_ID", twin)
    monkeypatch.setenv("SLURM_JOB_NAME", job.key)
    assert begin_together(links(folders)) == []
    scheduler.end(twin, state=State.COMPLETED, exit_code=0)
    desk.settle()
    assert charged(desk, twin) == pytest.approx(2 * 1800 / 3600)
    assert first.key + "+" + twin in desk.ledger.accounts()
