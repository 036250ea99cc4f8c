"""Links that submit each other: who runs, who follows, and what is left in the end."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan
from whole_campaign import command, fingerprint, of_modes, run_campaign, with_modes

from pipeline.campaign import declare
from pipeline.chains import continuation as succession
from pipeline.chains import history, link_settings, stop_requests
from pipeline.chains.continuation import NOTHING_TO_DO, WANTED, begin, end
from pipeline.chains.job_manager import JobManager
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.records import Product, Trained
from pipeline.scheduler import NotNowError
from pipeline.scheduler.rows import unknown
from pipeline.site import load_site
from pipeline.trust import OtherOwnerError

RUNS = {"state": State.RUNNING, "exit_code": None, "end": None}


@pytest.fixture
def scheduler():
    made = FakeScheduler(**RUNS)
    made.polls = 1
    return made


@pytest.fixture
def manager(tmp_path, scheduler, monkeypatch):
    """A manager of a machine with a scheduler."""
    plan = tiny_plan(tmp_path, "frontier", project="m1")
    monkeypatch.setattr(succession, "connect", lambda *_: scheduler)
    monkeypatch.setattr(succession, "SETTLE_SECONDS", 0.2)
    return JobManager(plan, scheduler)


@pytest.fixture
def step(manager):
    """A training of six links."""
    found = replace(pretraining(manager.plan), links=6)
    declare(manager.plan.run.task(found.task.key), found.task)
    link_settings.write(manager.plan, found)
    return found


@pytest.fixture
def folder(manager, step):
    return manager.plan.run.task(step.task.key)


@pytest.fixture
def first(manager, step, folder, monkeypatch):
    """The first link, as a controller submits it; its id."""
    history.begin(folder, 1, ("", 0))
    job_id = manager.submit(manager.plan.link(step, 1), stage="pretrain", task_key=step.task.key)
    within(monkeypatch, job_id)
    return job_id


def within(monkeypatch, job_id):
    """Go on as a process of the job `job_id`."""
    monkeypatch.setenv("COSMOTRON_JOB_ID", job_id)


def test_settings_of_another_user_make_no_batch_script(folder, monkeypatch):
    path = folder.chain / "link-settings.json"
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:  # root's files are accepted
        os.chown(path, 61234, -1)
    with pytest.raises(OtherOwnerError, match="may run code as you"):
        link_settings.read(folder)


def save(folder, number):
    (folder.checkpoints / f"step-{number:012d}").mkdir(parents=True)


def numbers(scheduler):
    """The links that were submitted, by job id."""
    jobs = scheduler.jobs.items()
    return {job_id: int(each.key.split(".")[-1].split("-")[0]) for job_id, each in jobs}


def test_a_link_that_begins_submits_the_next_to_wait_for_its_end(scheduler, folder, first, manager):
    assert begin(folder, 1) == WANTED
    assert numbers(scheduler) == {"700": 1, "701": 2}
    script = scheduler.scripts[scheduler.jobs["701"].key]
    assert "#SBATCH --dependency=afterany:700\n" in script
    account = manager.ledger.accounts()[scheduler.jobs["701"].key]
    assert account.job_id == "701"
    assert account.reserved_node_hours > 0


def test_a_link_that_begins_again_submits_nothing_twice(scheduler, folder, first):
    """So it does when it was put back into the queue."""
    begin(folder, 1)
    assert begin(folder, 1) == WANTED
    assert list(scheduler.jobs) == ["700", "701"]


def test_of_two_jobs_of_one_key_one_does_the_work_and_both_are_charged(
    scheduler, folder, first, manager, step, monkeypatch
):
    begin(folder, 1)
    twin = scheduler.submit(manager.plan.link(step, 1), "")
    within(monkeypatch, twin)
    assert begin(folder, 1) == NOTHING_TO_DO
    assert {each.job_id for each in manager.ledger.accounts().values()} == {first, "701", twin}


def test_the_next_link_judges_the_one_that_could_not(
    scheduler, folder, first, monkeypatch, manager
):
    begin(folder, 1)
    save(folder, 8)
    scheduler.end("700", state=State.NODE_FAIL, exit_code=None)
    within(monkeypatch, "701")
    assert begin(folder, 2) == WANTED
    links = history.read(folder)
    assert [(link.number, link.outcome, link.progressed) for link in links] == [
        (1, "node_fail", True),
        (2, "", False),
    ]
    assert numbers(scheduler) == {"700": 1, "701": 2, "702": 3}
    assert manager.ledger.accounts()[scheduler.jobs["700"].key].state == "node_fail"


def test_a_link_that_was_put_back_into_the_queue_is_overtaken(
    scheduler, folder, first, monkeypatch
):
    begin(folder, 1)
    scheduler.ends = {}
    scheduler.jobs["700"] = scheduler.jobs["700"].model_copy(update={"state": State.PENDING})
    within(monkeypatch, "701")
    assert begin(folder, 2) == WANTED
    assert scheduler.cancelled == ["700"]
    assert history.read(folder)[0].outcome == "preempted"


def test_while_the_link_before_runs_no_other_does(scheduler, folder, first, monkeypatch, capsys):
    begin(folder, 1)
    within(monkeypatch, "701")
    assert succession.main("begin", str(folder.path), "2") == NOTHING_TO_DO
    told = capsys.readouterr().err
    assert "job 700, the link before, is running, so this link does nothing" in told


def test_a_link_that_saved_and_ended_leaves_the_next_one_to_go_on(scheduler, folder, first):
    begin(folder, 1)
    save(folder, 8)
    assert end(folder, 1, Exit.CONTINUE) == WANTED
    assert scheduler.cancelled == []
    assert history.over(folder) is None


def test_a_link_that_finishes_leaves_nothing_behind(scheduler, folder, first):
    begin(folder, 1)
    folder.finish(Trained(loss=1.0))
    end(folder, 1, Exit.FINISHED)
    assert scheduler.cancelled == ["701"]


def test_a_link_that_is_the_last_for_another_reason_says_so(scheduler, folder, first, monkeypatch):
    begin(folder, 1)
    folder.fail("diverged", "The loss is nan after 8 events.")
    end(folder, 1, Exit.DIVERGED)
    assert scheduler.cancelled == ["701"]
    over = history.over(folder)
    assert (over.number, over.reason, over.outcome) == (1, "diverged", "diverged")
    assert over.message.startswith("The loss is nan after 8 events. (log: ")


def test_a_link_before_that_is_gone_for_certain_is_not_waited_for(
    scheduler, folder, first, monkeypatch, manager
):
    begin(folder, 1)
    save(folder, 8)

    def gone(jobs):
        return {each: unknown(each).model_copy(update={"is_gone": True}) for each in jobs}

    monkeypatch.setattr(scheduler, "query", gone)
    within(monkeypatch, "701")
    assert begin(folder, 2) == WANTED
    ended = next(each for each in manager.ledger.accounts().values() if each.job_id == "700")
    assert ended.state == "unknown"


def test_a_next_link_that_could_not_be_cancelled_ends_by_itself(
    scheduler, folder, first, monkeypatch, capsys
):
    begin(folder, 1)
    monkeypatch.setattr(scheduler, "cancel", lambda _: None)
    folder.fail("diverged", "The loss is nan after 8 events.")
    end(folder, 1, Exit.DIVERGED)
    within(monkeypatch, "701")
    assert begin(folder, 2) == NOTHING_TO_DO
    assert "nothing to do: the chain is over: diverged" in capsys.readouterr().err
    folder.result.unlink()
    folder.finish(Product())
    assert begin(folder, 2) == NOTHING_TO_DO
    assert "nothing to do: the task is done" in capsys.readouterr().err


def test_what_the_scheduler_may_have_killed_is_judged_later(scheduler, folder, first):
    begin(folder, 1)
    end(folder, 1, 143)
    assert history.read(folder)[0].is_open
    assert scheduler.cancelled == []


def test_while_an_order_to_stop_stands_no_link_runs(scheduler, folder, first, manager, capsys):
    stop_requests.write(manager.plan.run.stop, "the queue is needed")
    assert begin(folder, 1) == NOTHING_TO_DO
    assert "(the queue is needed)" in capsys.readouterr().err
    assert list(scheduler.jobs) == ["700"]


def test_an_order_lets_go_of_the_next_link(scheduler, folder, first):
    begin(folder, 1)
    stop_requests.write(folder.stop, "")
    save(folder, 8)
    end(folder, 1, Exit.CONTINUE)
    assert scheduler.cancelled == ["701"]


def test_a_full_queue_is_no_failure_of_the_link(scheduler, folder, first, monkeypatch, capsys):
    def full(*_, **__):
        raise NotNowError("sbatch: error: QOSMaxSubmitJobPerUserLimit")

    monkeypatch.setattr(scheduler, "submit", full)
    assert begin(folder, 1) == WANTED
    assert ": left to the controller: sbatch: error: QOSMaxSub" in capsys.readouterr().err


def test_a_chain_has_an_end(scheduler, folder, first, monkeypatch, step):
    """However often its links ask for more: here each leaves a checkpoint."""
    job_id, number = first, 1
    while begin(folder, number) == WANTED:
        save(folder, number)
        scheduler.end(job_id, state=State.TIMEOUT, exit_code=None)
        number += 1
        if str(700 + number - 1) not in scheduler.jobs:
            break
        job_id = str(700 + number - 1)
        within(monkeypatch, job_id)
    assert len(scheduler.jobs) == step.most_links == 22


def test_a_link_that_nobody_prepared_fails_and_says_what_to_type(tmp_path, capsys):
    assert succession.main("begin", str(tmp_path / "run" / "pretrain" / "m"), "1") == Exit.BAD_INPUT
    assert "link-settings.json: not there. `cosmotron run` writes it" in capsys.readouterr().err


def test_a_full_disk_is_told_and_is_not_nothing(scheduler, folder, first, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "/scratch/x")

    monkeypatch.setattr(history, "hold", full)
    assert succession.main("begin", str(folder.path), "1") == Exit.CANNOT_WRITE
    assert "begin: /scratch/x: No space left on device. Free some space" in capsys.readouterr().err


@pytest.mark.slow
def test_a_chain_ends_though_its_controller_is_dead(uninterrupted: Path, tmp_path: Path) -> None:
    """kill -9 while the first of several links runs; each link is asked to save as it starts."""
    here = load_site("local").model_dump(mode="json", exclude_none=True)
    here["qos"] = {"short": {"max_minutes": 2}}
    here["training"]["qos"] = "short"
    site = tmp_path / "short.toml"
    site.write_text(_toml(here))
    campaign = with_modes(tmp_path, "frozen")
    with subprocess.Popen(
        command(tmp_path, str(site), campaign), stdout=subprocess.DEVNULL, start_new_session=True
    ) as controller:
        folder = Path(_soon(tmp_path, "tiny/pretrain/*/chain/0001-held.json")).parent.parent
        os.kill(controller.pid, signal.SIGKILL)
    for number in (1, 2):
        _soon(tmp_path, f"tiny/pretrain/*/chain/{number:04d}-held.json")
        (folder / "SAVE").touch()
        _soon(tmp_path, f"tiny/pretrain/*/chain/{number:04d}-ended.json")
    _soon(tmp_path, "tiny/pretrain/*/DONE")
    ended = [json.loads(path.read_text()) for path in sorted(folder.glob("chain/*-ended.json"))]
    assert [each["outcome"] for each in ended][:2] == ["continue", "continue"]
    again = run_campaign(tmp_path, str(site), campaign)
    assert again.returncode == 0, again.stderr
    assert fingerprint(tmp_path) == of_modes(fingerprint(uninterrupted), "frozen")
    jobs = [
        json.loads(path.read_text()) for path in sorted(tmp_path.glob("tiny/local/jobs/*.json"))
    ]
    assert all(job["state"] for job in jobs), "no job is left"
    trainings = [job for job in jobs if "pretrain" in job["key"]]
    assert trainings[-1]["state"] == "cancelled", "the link after the last was let go of"


def _toml(values: dict[str, object]) -> str:
    import tomli_w

    return tomli_w.dumps(values)


def _soon(root: Path, pattern: str) -> Path:
    """Wait until there is a file of `pattern`, and return it."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        found = list(root.glob(pattern))
        if found:
            return found[0]
        time.sleep(0.01)
    raise AssertionError(pattern)
