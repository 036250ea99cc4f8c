"""A training's chain: link after link, adopted where one is there, until it is done."""

from types import SimpleNamespace

import pytest
from desk_fakes import Clock, FakeScheduler, pretraining, tiny_plan

from pipeline.job import State
from pipeline.run import Exit
from pipeline.workflow import desk as desk_module
from pipeline.workflow.desk import Desk
from pipeline.workflow.watch import TaskError, chain, why


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(desk_module, "time", clock)
    return clock


@pytest.fixture
def scheduler():
    return FakeScheduler(state=State.FAILED, exit_code=Exit.CONTINUE)


@pytest.fixture
def desk(tmp_path, scheduler, clock):
    made = Desk(tiny_plan(tmp_path), scheduler)
    made._stopping = SimpleNamespace(is_set=lambda: False, wait=clock.sleep, set=lambda: None)
    return made


@pytest.fixture
def step(desk):
    return pretraining(desk.plan)


@pytest.fixture
def folder(desk, step):
    return desk.plan.run.task(step.task.key)


def checkpoints_each_link(scheduler, folder, *, done_after):
    """Let every link leave a checkpoint, and the last one finish."""

    def work(job_id):
        (folder.checkpoints / f"step-{int(job_id):012d}").mkdir(parents=True)
        if len(scheduler.jobs) == done_after:
            scheduler.ends = {"state": State.COMPLETED, "exit_code": 0}
            folder.finish({"loss": 1.0})

    scheduler.at_end = work


@pytest.mark.parametrize("links", [1, 2, 4])
def test_a_link_that_asks_for_more_gets_the_next_one(desk, scheduler, step, folder, links):
    checkpoints_each_link(scheduler, folder, done_after=links)
    chain(step, desk)
    assert folder.is_done
    keys = [job.key for job in scheduler.jobs.values()]
    assert keys == [desk.plan.link(step, number).key for number in range(1, links + 1)]


@pytest.mark.parametrize("state", [State.TIMEOUT, State.PREEMPTED, State.NODE_FAIL])
def test_what_the_machine_ended_is_continued(desk, scheduler, step, folder, state):
    scheduler.ends = {"state": state, "exit_code": None}
    checkpoints_each_link(scheduler, folder, done_after=2)
    chain(step, desk)
    assert len(scheduler.jobs) == 2


def test_what_is_done_is_not_submitted(desk, scheduler, step, folder):
    folder.finish({})
    chain(step, desk)
    assert scheduler.jobs == {}


def test_a_link_that_is_there_already_is_adopted(desk, scheduler, step, folder):
    desk.submit(desk.plan.link(step, 1), stage="pretrain", task_key=step.task.key)
    checkpoints_each_link(scheduler, folder, done_after=1)
    chain(step, desk)
    assert len(scheduler.jobs) == 1


def test_an_adopted_link_that_has_ended_since_is_continued(desk, scheduler, step, folder):
    job_id = desk.submit(desk.plan.link(step, 1), stage="pretrain", task_key=step.task.key)
    checkpoints_each_link(scheduler, folder, done_after=2)
    scheduler.end(job_id, **scheduler.ends)
    chain(step, desk)
    assert len(scheduler.jobs) == 2


def test_a_failure_tells_what_the_program_recorded(desk, scheduler, step, folder):
    scheduler.ends = {"state": State.FAILED, "exit_code": Exit.NOT_A_NUMBER}
    scheduler.at_end = lambda _: folder.fail("not_a_number", "The loss is nan after 8 events.")
    with pytest.raises(TaskError) as caught:
        chain(step, desk)
    log = desk.plan.link(step, 1).log
    assert str(caught.value) == f"The loss is nan after 8 events. (log: {log})"
    assert len(scheduler.jobs) == 1


def test_a_failure_without_a_word_shows_the_end_of_the_log(desk, scheduler, step, folder):
    scheduler.ends = {"state": State.OUT_OF_MEMORY, "exit_code": 137}
    log = desk.plan.link(step, 1).log
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(40)))
    with pytest.raises(TaskError) as caught:
        chain(step, desk)
    lines = str(caught.value).splitlines()
    assert lines[0] == (f"job 700 ended out_of_memory with exit code 137. Its log, {log}, ends:")
    assert [line.strip() for line in lines[1:]] == [f"line {number}" for number in range(25, 40)]


def test_a_chain_that_makes_no_progress_ends(desk, scheduler, step):
    with pytest.raises(TaskError, match="without a new checkpoint; another link would waste hours"):
        chain(step, desk)
    assert len(scheduler.jobs) == 1


def test_progress_is_told_from_link_to_link(desk, scheduler, step, folder):
    checkpoint = folder.checkpoints / "step-000000000001"
    scheduler.at_end = lambda _: checkpoint.mkdir(parents=True, exist_ok=True)
    with pytest.raises(TaskError, match="without a new checkpoint"):
        chain(step, desk)
    assert len(scheduler.jobs) == 2


def test_a_part_of_the_product_is_progress_too(desk, scheduler, step, folder):
    def write(_):
        folder.parts.mkdir(parents=True, exist_ok=True)
        (folder.parts / f"{min(2, len(scheduler.jobs)):05d}.json").write_text("{}")

    scheduler.at_end = write
    with pytest.raises(TaskError, match="without a new checkpoint"):
        chain(step, desk)
    assert len(scheduler.jobs) == 3


def test_a_job_that_is_lost_is_told(desk, scheduler, step, monkeypatch):
    monkeypatch.setattr(scheduler, "query", lambda _: {})
    with pytest.raises(TaskError, match="job 700 ended unknown with exit code None"):
        chain(step, desk)


def test_without_a_log_only_the_end_is_told(folder, tmp_path):
    assert why(folder, tmp_path / "none.log", "it ended") == (
        f"it ended. Its log, {tmp_path / 'none.log'}, ends:"
    )
