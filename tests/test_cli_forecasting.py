"""The verb forecast, as a user meets it."""

import json
from pathlib import Path

import pytest
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan
from whole_campaign import TINY

import pipeline.scheduler
from pipeline.campaign import declare, load_campaign
from pipeline.chains.job_manager import JobManager
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.records import Product
from pipeline.rehearsal import poll
from pipeline.writing import write_json

CONSTANT = '[pretrain.training]\nschedule = "constant"'


@pytest.fixture
def scheduler(monkeypatch):
    made = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    made.polls = 1
    for module in (pipeline.scheduler, poll):
        monkeypatch.setattr(module, "connect", lambda *_: made)
    return made


@pytest.fixture
def manager(tmp_path, scheduler):
    """The manager of a campaign whose pretraining runs, a third done."""
    manager = JobManager(tiny_plan(tmp_path, "testbed", project="m4722"), scheduler)
    manager.plan.run.identify()
    step = pretraining(manager.plan)
    manager.submit(manager.plan.link(step, 1), stage="pretrain", task_key=step.task.key)
    folder = manager.plan.run.task(step.task.key)
    write_json(folder.progress, {"done": 16, "total": 48, "unit": "events"})
    return manager


@pytest.fixture
def forecast(cosmotron, tmp_path):
    def said(*words):
        there = ("--site", "testbed", "--root", tmp_path, "--samples", "5")
        return cosmotron("forecast", TINY, *there, *words)

    return said


def test_it_says_node_hours_date_and_rates(manager, forecast):
    told = forecast()
    assert told.code == Exit.FINISHED, told.err
    for each in ("tiny:", "node-hours in all, of which", "done in", "(80 %:", "the assumed time"):
        assert each in told.words


def test_it_warns_of_the_cap_and_says_so_to_scripts(manager, forecast):
    told = forecast("--cap", "0.001")
    assert told.code == Exit.FAILED
    assert "beyond the cap of 0.001 node-hours in the median outcome" in told.words
    assert forecast("--cap", "1e9").code == Exit.FINISHED


@pytest.mark.parametrize(
    ("ends", "code"), [("2001-01-01", Exit.FAILED), ("2999-01-01", Exit.FINISHED)]
)
def test_it_warns_of_the_allocation_s_end(manager, cosmotron, tmp_path, ends, code):
    text = Path(TINY).read_text()
    (tmp_path / "tiny.toml").write_text(f"allocation_ends = {ends}\n{text}")
    there = ("--site", "testbed", "--root", tmp_path, "--samples", "5")
    told = cosmotron("forecast", tmp_path / "tiny.toml", *there)
    assert told.code == code, told.err
    said = f"after the allocation's end on {ends} in the median outcome"
    assert (said in told.words) == (code == Exit.FAILED)


def test_numbers_and_a_picture(manager, forecast, tmp_path):
    told = forecast("--json", "--plot", tmp_path / "burn.png")
    numbers = json.loads(told.out)
    assert numbers["node_hours"].keys() == {"low", "middle", "high"}
    assert numbers["spent_node_hours"] > 0
    assert (tmp_path / "burn.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((manager.plan.run.forecast).read_text())
    assert kept["node_hours"] == numbers["node_hours"]


def test_without_the_scheduler_it_goes_by_the_ledger_and_says_so(manager, forecast, scheduler):
    scheduler.is_silent = True
    told = forecast()
    assert told.code == Exit.FINISHED, told.err
    assert "slurmdbd not responding" in told.words
    assert "the last state of the jobs in the ledger" in told.words


def test_before_anything_is_submitted_a_rehearsal_is_the_answer(scheduler, forecast):
    told = forecast()
    assert told.code == Exit.USAGE
    assert "no job was submitted yet. First: cosmotron rehearse" in told.words


def test_a_training_that_was_made_longer_is_not_done(manager, forecast, cosmotron, tmp_path):
    """A quarter of it is, which the shorter one has made."""
    text = TINY.read_text().replace("[pretrain.training]", CONSTANT)
    file = tmp_path / "tiny.toml"
    file.write_text(text)
    for task in load_campaign(str(file)).tasks(manager.plan.run):
        folder = manager.plan.run.task(task.key)
        declare(folder, task)
        folder.finish(Product(seconds=1.0))
    folder = manager.plan.run.task(pretraining(manager.plan).task.key)
    (folder.checkpoints / "step-000000000048").mkdir(parents=True)
    there = ("--site", "testbed", "--root", tmp_path, "--samples", "5")
    assert "All tasks are done" in cosmotron("forecast", file, *there).words
    file.write_text(text.replace("events_seen = 48", "events_seen = 192", 1))
    told = cosmotron("forecast", file, *there)
    assert told.code == Exit.FINISHED, told.err
    assert "node-hours in all" in told.words


def test_a_campaign_that_is_done_needs_none(manager, forecast):
    for step in manager.plan.steps:
        folder = manager.plan.run.task(step.task.key)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.finish(Product(seconds=1.0))
    told = forecast()
    assert told.code == Exit.FINISHED
    assert "All tasks are done" in told.words
