"""A training's chain: link after link, adopted where one is there, until it is done."""

import json
import time
from types import SimpleNamespace

import pytest
from scheduler_fakes import Clock, FakeScheduler, pretraining, tiny_plan

from pipeline.chains import back_off, history, job_manager, stop_requests
from pipeline.chains.job_manager import UNKNOWN_SECONDS, JobManager
from pipeline.chains.outcomes import why
from pipeline.chains.watch import Chain, TaskError, Watchers
from pipeline.job import JobStatus, State
from pipeline.outcome import Exit
from pipeline.records import Product, Trained


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(job_manager, "clock", clock)
    monkeypatch.setattr(back_off, "clock", clock)
    return clock


@pytest.fixture
def scheduler():
    return FakeScheduler(state=State.FAILED, exit_code=Exit.CONTINUE)


@pytest.fixture
def manager(tmp_path, scheduler, clock):
    made = JobManager(tiny_plan(tmp_path), scheduler)
    made._stopping = SimpleNamespace(is_set=lambda: False, wait=clock.sleep, set=lambda: None)
    return made


@pytest.fixture
def step(manager):
    return pretraining(manager.plan)


@pytest.fixture
def folder(manager, step):
    return manager.plan.run.task(step.task.key)


def chain(step, manager):
    """Watch one chain to its end, as a controller does."""
    watched = Chain(step, manager)
    while not watched.advance():
        job_manager.clock.sleep(manager.plan.site.poll_seconds + 1)


def checkpoints_each_link(scheduler, folder, *, done_after):
    """Let every link leave a checkpoint, and the last one finish."""

    def work(job_id):
        (folder.checkpoints / f"step-{int(job_id):012d}").mkdir(parents=True)
        if len(scheduler.jobs) == done_after:
            scheduler.ends = {"state": State.COMPLETED, "exit_code": 0}
            folder.finish(Trained(loss=1.0))

    scheduler.at_end = work


@pytest.mark.parametrize("links", [1, 2, 4])
def test_a_link_that_asks_for_more_gets_the_next_one(manager, scheduler, step, folder, links):
    checkpoints_each_link(scheduler, folder, done_after=links)
    chain(step, manager)
    assert folder.is_done
    keys = [job.key for job in scheduler.jobs.values()]
    assert keys == [manager.plan.link(step, number).key for number in range(1, links + 1)]


@pytest.mark.parametrize("state", [State.TIMEOUT, State.PREEMPTED, State.NODE_FAIL, State.FAILED])
def test_what_the_machine_ended_is_continued(manager, scheduler, step, folder, state):
    scheduler.ends = {"state": state, "exit_code": None}
    checkpoints_each_link(scheduler, folder, done_after=2)
    chain(step, manager)
    assert len(scheduler.jobs) == 2


def test_what_is_done_is_not_submitted(manager, scheduler, step, folder):
    folder.finish(Product())
    chain(step, manager)
    assert scheduler.jobs == {}


def test_a_link_that_is_there_already_is_adopted(manager, scheduler, step, folder):
    manager.submit(manager.plan.link(step, 1), stage="pretrain", task_key=step.task.key)
    checkpoints_each_link(scheduler, folder, done_after=1)
    chain(step, manager)
    assert len(scheduler.jobs) == 1


def test_an_adopted_link_that_has_ended_since_is_continued(manager, scheduler, step, folder):
    job_id = manager.submit(manager.plan.link(step, 1), stage="pretrain", task_key=step.task.key)
    checkpoints_each_link(scheduler, folder, done_after=2)
    scheduler.end(job_id, **scheduler.ends)
    chain(step, manager)
    assert len(scheduler.jobs) == 2


def test_a_failure_tells_what_the_program_recorded(manager, scheduler, step, folder):
    scheduler.ends = {"state": State.FAILED, "exit_code": Exit.DIVERGED}
    scheduler.at_end = lambda _: folder.fail("diverged", "The loss is nan after 8 events.")
    with pytest.raises(TaskError) as caught:
        chain(step, manager)
    log = manager.plan.link(step, 1).log
    assert str(caught.value) == f"diverged: The loss is nan after 8 events. (log: {log})"
    assert caught.value.outcome == "diverged"
    assert len(scheduler.jobs) == 1


def test_what_has_diverged_is_not_tried_again_by_itself(manager, scheduler, step, folder):
    folder.fail("diverged", "The loss is nan after 8 events.")
    with pytest.raises(TaskError) as caught:
        chain(step, manager)
    assert scheduler.jobs == {}
    assert str(caught.value) == (
        "diverged: The loss is nan after 8 events. It would diverge again, so it is not "
        f"submitted: remove {folder.path} to begin again, or result.json there to go on."
    )


def test_a_failure_without_a_word_shows_the_end_of_the_log(manager, scheduler, step, folder):
    scheduler.ends = {"state": State.OUT_OF_MEMORY, "exit_code": 137}
    log = manager.plan.link(step, 1).log
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(40)))
    with pytest.raises(TaskError) as caught:
        chain(step, manager)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("out_of_memory: job 700 ended out_of_memory with exit code 137. ")
    assert "Model fm4npp-mamba2 (" in lines[0]
    assert "batch_events 4 over 2 process(es), 2 events at once in each" in lines[0]
    assert lines[0].endswith(f"A smaller batch_events does. Its log, {log}, ends:")
    assert [line.strip() for line in lines[1:]] == [f"line {number}" for number in range(25, 40)]


NO_PROGRESS = "no new checkpoint in two links; another would waste hours"


def test_a_chain_that_makes_no_progress_in_two_links_ends(manager, scheduler, step, folder):
    with pytest.raises(TaskError, match=f"continue, and {NO_PROGRESS}: job 701 ended failed"):
        chain(step, manager)
    assert len(scheduler.jobs) == 2
    with pytest.raises(TaskError, match="job 703"):  # who asks again gets two links again
        chain(step, manager)


def test_progress_is_told_from_link_to_link(manager, scheduler, step, folder):
    checkpoint = folder.checkpoints / "step-000000000001"
    scheduler.at_end = lambda _: checkpoint.mkdir(parents=True, exist_ok=True)
    with pytest.raises(TaskError, match=NO_PROGRESS):
        chain(step, manager)
    assert len(scheduler.jobs) == 3


def test_a_part_of_the_product_is_progress_too(manager, scheduler, step, folder):
    def write(_):
        folder.parts.mkdir(parents=True, exist_ok=True)
        (folder.parts / f"{min(2, len(scheduler.jobs)):05d}.json").write_text("{}")

    scheduler.at_end = write
    with pytest.raises(TaskError, match=NO_PROGRESS):
        chain(step, manager)
    assert len(scheduler.jobs) == 4


def test_a_hang_is_tried_once_more(manager, scheduler, step, folder):
    def hang(job_id):
        checkpoints_each_link(scheduler, folder, done_after=9)
        scheduler.at_end(job_id)
        scheduler.at_end = hang
        assert not folder.result.exists(), "what an earlier link recorded is not this one's"
        folder.fail("hang", "No step for 1800 s: rank 1 in sleep (x.py:3), after step 7.")

    scheduler.ends["exit_code"] = Exit.HANG
    scheduler.at_end = hang
    with pytest.raises(TaskError, match="hang, twice in a row: No step for 1800 s: rank 1 in"):
        chain(step, manager)
    assert len(scheduler.jobs) == 2


class Gone(BaseException):
    """The controller was killed."""


def die(_):
    raise Gone


def test_what_a_dead_controller_saw_counts(manager, scheduler, step, folder, monkeypatch):
    """The first link's end was seen, the second's not: together they are two without progress."""
    ends_of_first = scheduler.ends
    scheduler.at_end = lambda _: None if len(scheduler.jobs) == 1 else die(_)
    with pytest.raises(Gone):
        chain(step, manager)
    scheduler.at_end = str
    scheduler.end("701", **ends_of_first)
    with pytest.raises(TaskError, match=f"continue, and {NO_PROGRESS}: job 701"):
        chain(step, manager)
    assert len(scheduler.jobs) == 2


def test_what_ended_unseen_is_judged(manager, scheduler, step, folder):
    scheduler.at_end = die
    with pytest.raises(Gone):
        chain(step, manager)
    scheduler.at_end = lambda _: folder.fail("out_of_memory", "Out of memory (there is none).")
    scheduler.end("700", state=State.FAILED, exit_code=Exit.OUT_OF_MEMORY)
    manager.settle()
    with pytest.raises(TaskError, match="out_of_memory: Out of memory"):
        chain(step, manager)
    assert len(scheduler.jobs) == 1


def test_what_was_cancelled_unseen_is_submitted_again(manager, scheduler, step, folder):
    scheduler.at_end = die
    with pytest.raises(Gone):
        chain(step, manager)
    checkpoints_each_link(scheduler, folder, done_after=2)
    scheduler.end("700", state=State.CANCELLED, exit_code=None)
    manager.settle()
    chain(step, manager)
    assert len(scheduler.jobs) == 2


def test_what_somebody_cancels_ends_the_chain(manager, scheduler, step):
    scheduler.ends = {"state": State.CANCELLED, "exit_code": None}
    with pytest.raises(TaskError, match="cancelled: job 700 ended cancelled"):
        chain(step, manager)


def runs(scheduler, monkeypatch, *, start):
    """Let jobs run until they are cancelled."""
    monkeypatch.setattr(scheduler, "polls", 1)
    scheduler.ends = {"state": State.RUNNING, "exit_code": None, "end": None, "start": start}


@pytest.mark.parametrize("beats", [True, False])
def test_a_job_that_gives_no_sign_of_life_is_cancelled(
    manager, scheduler, step, folder, monkeypatch, beats
):
    runs(scheduler, monkeypatch, start=1_000_000)
    if beats:
        write_beat(folder, manager.plan.link(step, 1).key, time.time())
    with pytest.raises(TaskError) as caught:
        chain(step, manager)
    assert scheduler.cancelled == ["700", "701"], "a hang is tried once more"
    message = str(caught.value)
    assert message.startswith("hang, twice in a row: Job 701 had no heartbeat for 3")
    assert f"by {folder.heartbeat}: its processes are stopped, or a node is frozen." in message


def write_beat(folder, link, moment):
    """Write the heartbeat of a link; its clock need not be ours."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.heartbeat.write_text(json.dumps({"time": moment, "link": link}))


def test_a_job_that_lives_is_not_cancelled(manager, scheduler, step, folder, clock, monkeypatch):
    """Only that the heartbeat changes counts: the clock of its node may be wrong by hours."""
    runs(scheduler, monkeypatch, start=1_000_000)
    watched = Chain(step, manager)
    watched.advance()
    link = manager.plan.link(step, 1).key
    for number in range(300):
        if number % 50 == 0:
            write_beat(folder, link, 5_000 + number)
        clock.sleep(60)
        assert not watched.advance()
    assert scheduler.cancelled == []


def test_a_suspended_job_has_not_hung_and_its_pause_does_not_count(
    manager, scheduler, step, folder, clock, monkeypatch
):
    hang = step.task.training.hang_seconds
    runs(scheduler, monkeypatch, start=1_000_000)
    watched = Chain(step, manager)
    watched.advance()
    write_beat(folder, manager.plan.link(step, 1).key, 5_000)

    def passes(seconds, state):
        scheduler.ends["state"] = state
        scheduler.jobs["700"] = scheduler.jobs["700"].model_copy(update={"state": state})
        for _ in range(seconds // 60):
            clock.sleep(60)
            watched.advance()

    passes(hang, State.RUNNING)
    passes(10 * hang, State.SUSPENDED)
    passes(2 * hang, State.RUNNING)
    assert scheduler.cancelled == [], "no heartbeat for longer than twice hang_seconds, and yet"
    passes(hang, State.RUNNING)
    assert scheduler.cancelled == ["700"]


def test_a_job_that_was_suspended_before_its_end_did_not_hang(manager, scheduler, step, folder):
    seconds = step.task.training.hang_seconds
    scheduler.ends = {"state": State.FAILED, "exit_code": 1, "end": 1_000_000 + 2 * seconds}
    scheduler.ends |= {"suspended_seconds": 2 * seconds - 10, "seconds": 10}

    def beat(_):
        write_beat(folder, manager.plan.link(step, len(scheduler.jobs)).key, 1_000_000)

    scheduler.at_end = beat
    with pytest.raises(TaskError, match="error: job 700 ended failed with exit code 1"):
        chain(step, manager)


def test_a_process_that_ended_after_a_long_silence_hung(manager, scheduler, step, folder):
    """So one is ended whose interpreter is locked: by a signal, and without a word."""
    seconds = step.task.training.hang_seconds
    scheduler.ends = {"state": State.FAILED, "exit_code": 1, "seconds": 60 + seconds}
    two_days_ahead = 172_800 + 1_001_800

    def beat(_):
        link = manager.plan.link(step, len(scheduler.jobs)).key
        last = {"time": two_days_ahead, "seconds": 60, "link": link}
        folder.heartbeat.write_text(json.dumps(last))

    scheduler.at_end = beat
    with pytest.raises(TaskError, match="hang, twice in a row: job 701 ended failed with exit"):
        chain(step, manager)


@pytest.mark.parametrize("whole_run", [True, False])
def test_while_an_order_to_stop_stands_nothing_is_submitted(
    manager, scheduler, step, folder, whole_run
):
    run = manager.plan.run
    stop_requests.write(run.stop if whole_run else folder.stop, "the queue is needed")
    with pytest.raises(TaskError, match=r"^Stopped by .* \(the queue is needed\): .*STOP exists"):
        chain(step, manager)
    assert scheduler.jobs == {}


def test_an_order_lets_the_link_end_and_nothing_follow(manager, scheduler, step, folder):
    def obey(job_id):
        (folder.checkpoints / f"step-{int(job_id):012d}").mkdir(parents=True)
        stop_requests.write(folder.stop, "")

    scheduler.at_end = obey
    with pytest.raises(TaskError) as caught:
        chain(step, manager)
    assert len(scheduler.jobs) == 1
    assert str(caught.value).endswith(f"To continue: cosmotron stop tiny {step.task.key} --undo")
    folder.stop.unlink()
    checkpoints_each_link(scheduler, folder, done_after=2)
    chain(step, manager)
    assert folder.is_done


def test_a_file_that_was_made_by_hand_is_an_order_too(manager, step):
    manager.plan.run.path.mkdir(parents=True)
    manager.plan.run.stop.write_text("wait for me\n")
    with pytest.raises(
        TaskError, match=r"^Stopped by hand \(wait for me\): .*STOP exists. To continue"
    ):
        chain(step, manager)


def test_jobs_that_are_lost_twice_are_told(manager, scheduler, step, monkeypatch):
    monkeypatch.setattr(scheduler, "query", lambda _: {})
    expected = "lost, twice in a row: job 701 ended unknown with exit code None"
    with pytest.raises(TaskError, match=expected):
        chain(step, manager)


def test_a_job_that_is_gone_for_certain_is_followed_at_once(
    manager, scheduler, step, folder, monkeypatch, clock
):
    """As on a machine without a scheduler, in a run that comes from an archive."""
    told = scheduler.query

    def gone(jobs):
        lost = JobStatus(id="700", key="", state=State.UNKNOWN, is_gone=True)
        jobs = list(jobs)
        found = {each: lost for each in jobs if each.id == "700"}
        return found | told([each for each in jobs if each.id != "700"])

    watched = Chain(step, manager)
    watched.advance()
    (folder.checkpoints / "step-000000000008").mkdir(parents=True)
    monkeypatch.setattr(scheduler, "query", gone)
    checkpoints_each_link(scheduler, folder, done_after=2)
    began = clock.monotonic()
    chain(step, manager)
    assert folder.is_done
    assert clock.monotonic() - began < UNKNOWN_SECONDS / 2


def test_after_a_lost_job_another_is_submitted(manager, scheduler, step, folder, monkeypatch):
    told = scheduler.query
    monkeypatch.setattr(scheduler, "query", lambda jobs: told([j for j in jobs if j.id != "700"]))
    checkpoints_each_link(scheduler, folder, done_after=2)
    chain(step, manager)
    assert folder.is_done
    assert manager.unended() == []
    assert {each.job_id for each in manager.ledger.of_task(step.task.key)} == {"700", "701"}


def test_a_link_that_ended_is_followed_though_the_ledger_still_waits_for_its_job(
    manager, scheduler, step, folder, monkeypatch
):
    """The link recorded its end, and then the scheduler lost the job, with its state."""
    watched = Chain(step, manager)
    watched.advance()
    history.end(folder, 1, "continue", progressed=True)
    told = scheduler.query
    monkeypatch.setattr(scheduler, "query", lambda jobs: told([j for j in jobs if j.id != "700"]))
    checkpoints_each_link(scheduler, folder, done_after=2)
    chain(step, manager)
    assert folder.is_done
    assert len(manager.ledger.of_task(step.task.key)) == 2


def test_a_chain_that_was_over_goes_on_though_the_ledger_still_waits_for_its_job(
    manager, scheduler, step, folder, monkeypatch
):
    """As after a loss of ledger records: the end of the job is told, and not in the ledger."""
    Chain(step, manager).advance()
    history.end(folder, 1, "error", progressed=False)
    over = history.Over(1, "error", "error", "job 700 ended completed with exit code 0.")
    history.close(folder, over)
    history.report(folder, over)
    told = scheduler.query
    monkeypatch.setattr(scheduler, "query", lambda jobs: told([j for j in jobs if j.id != "700"]))
    checkpoints_each_link(scheduler, folder, done_after=2)
    chain(step, manager)
    assert folder.is_done
    keys = [each.job_key for each in manager.ledger.of_task(step.task.key)]
    assert keys == [manager.plan.link(step, number).key for number in (1, 2)]


def test_a_job_is_not_lost_while_the_scheduler_is_silent(manager, scheduler, step, folder, clock):
    watched = Chain(step, manager)
    watched.advance()
    scheduler.is_silent = True
    for _ in range(8):
        clock.sleep(100)
        assert not watched.advance()
    scheduler.is_silent = False
    checkpoints_each_link(scheduler, folder, done_after=1)
    while not watched.advance():
        clock.sleep(manager.plan.site.poll_seconds + 1)
    assert list(scheduler.jobs) == ["700"]


def test_without_a_log_only_the_end_is_told(folder, tmp_path):
    assert why(folder, tmp_path / "none.log", "it ended") == (
        f"it ended. Its log, {tmp_path / 'none.log'}, ends:"
    )


def test_a_queue_that_others_left_full_is_used_when_they_are_gone(tmp_path, clock):
    """Jobs that no chain watches, pilots and links that a link cancelled, hold their places."""
    scheduler = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    scheduler.polls = 1
    plan = tiny_plan(tmp_path, "testbed-frontier", project="nph000", bundle="never")
    manager = JobManager(plan, scheduler)
    step = pretraining(plan)
    others = [
        manager.submit(plan.link(step, number), stage="pretrain", task_key="pretrain/other")
        for number in range(11, 11 + manager.room(""))
    ]
    watchers = Watchers(manager)
    watchers.add(step)
    watchers.advance()
    assert len(scheduler.jobs) == len(others), "there is no room"
    for job_id in others:
        scheduler.end(job_id, state=State.CANCELLED, seconds=0)
    clock.sleep(plan.site.poll_seconds + 1)
    watchers._next_poll = 0.0
    watchers.advance()
    assert len(scheduler.jobs) == len(others) + 1
    ended = [each for each in manager.ledger.accounts().values() if each.state == "cancelled"]
    assert len(ended) == len(others), "and the ledger knows"


@pytest.mark.parametrize("outcome", ["disk_full", "cannot_write"])
def test_a_full_disk_that_ended_the_controller_too_is_not_told_again(
    manager, scheduler, step, folder, outcome
):
    """Whoever types the command again has made room: the second run goes on."""
    scheduler.ends = {"state": State.FAILED, "exit_code": Exit.CANNOT_WRITE}
    scheduler.at_end = lambda job_id: folder.fail(outcome, f"{job_id}: no room")
    dies = Chain(step, manager)
    while history.over(folder) is None:
        dies.advance()
        job_manager.clock.sleep(manager.plan.site.poll_seconds + 1)
    with pytest.raises(TaskError, match="701: no room"):  # the disk is still full
        chain(step, manager)
    assert len(scheduler.jobs) == 2
    checkpoints_each_link(scheduler, folder, done_after=3)
    chain(step, manager)
    assert folder.is_done
