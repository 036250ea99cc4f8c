"""A campaign that was changed since its run began, as `plan` and `run` show it."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import catalog
from pipeline.campaign import SHELF, declare, load_campaign
from pipeline.campaign.identity import Difference
from pipeline.cli import changing
from pipeline.data import training_data
from pipeline.data.training_data import TrainingData
from pipeline.planning.changes import Change
from pipeline.run import Run

RATE = Difference("training.learning_rate", 2e-3, 1e-3)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A quickstart that has run to its end, and whose fine-tunings have another rate now."""
    run = Run(tmp_path, "quickstart")
    for task in load_campaign("quickstart").tasks(run):
        declare(run.task(task.key), task)
        run.task(task.key).done.touch()
        training_data.write(run.task(task.key).path, TrainingData())
    run.page.parent.mkdir()
    run.page.touch()
    text = catalog.find(SHELF, "quickstart").read_text()
    file = tmp_path / "quickstart.toml"
    file.write_text(text.replace('"full", "scratch"]', '"scratch"]').replace("= 3e-3", "= 1e-3"))
    return file


def test_a_plan_says_what_a_change_means_and_what_it_costs(
    cosmotron: Any, tmp_path: Path, changed: Path
) -> None:
    told = cosmotron("plan", changed, "--site", "local", "--root", tmp_path)
    assert "Tasks: 4 made again, 2 no longer asked, 5 the same." in told.words
    rate = "training.learning_rate 0.003 → 0.001"
    assert f"finetune/tracking-m0-scratch-l240-s1 (0.1667 node-hours): {rate}" in told.words
    assert (
        "made again evaluate/tracking-m0-d960-s1-frozen-l240-s1 and 1 more, made of" in told.words
    )
    assert "no longer asked finetune/tracking-m0-d960-s1-full-l240-s1" in told.words
    assert "0.3333 node-hours in jobs of their own for 4 made again" in told.words


def test_a_plan_as_json_has_the_meaning_of_each_task(
    cosmotron: Any, tmp_path: Path, changed: Path
) -> None:
    told = cosmotron("plan", changed, "--site", "local", "--root", tmp_path, "--json")
    steps = {step["task"]: step for step in json.loads(told.out)["steps"]}
    assert steps["stage/labelled"]["meaning"] == "the same"
    step = steps["finetune/tracking-m0-scratch-l240-s1"]
    assert (step["meaning"], step["because"]) == (
        "made again",
        "training.learning_rate 0.003 → 0.001",
    )


def test_nothing_is_said_of_a_campaign_that_is_as_it_was(cosmotron: Any, tmp_path: Path) -> None:
    run = Run(tmp_path, "quickstart")
    for task in load_campaign("quickstart").tasks(run):
        declare(run.task(task.key), task)
    told = cosmotron("plan", "quickstart", "--site", "local", "--root", tmp_path)
    assert "was changed" not in told.words


@pytest.mark.parametrize("root", ["../runs", "../a/../runs", "{}/a/../runs", "../link/runs"])
def test_a_run_is_the_same_by_whatever_path_it_is_reached(
    cosmotron: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    run = Run(tmp_path / "runs", "quickstart")
    for task in load_campaign("quickstart").tasks(run):
        declare(run.task(task.key), task)
        run.task(task.key).done.touch()
        training_data.write(run.task(task.key).path, TrainingData())
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "a")
    where = root.format(tmp_path)
    told = cosmotron("plan", "quickstart", "--site", "local", "--root", where, "--json")
    assert {step["meaning"] for step in json.loads(told.out)["steps"]} == {"the same"}


def test_nothing_is_made_again_without_a_yes(
    cosmotron: Any, tmp_path: Path, changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("typer.confirm", asked.append)
    told = cosmotron("run", changed, "--site", "local", "--root", tmp_path)
    assert asked == ["Make these again?"], "also where nothing is charged"
    assert told.code == 0, told.words
    assert "4 made again" in told.words
    assert not (tmp_path / "quickstart" / "replaced").exists()
    assert (tmp_path / "quickstart/finetune/tracking-m0-scratch-l240-s1/DONE").exists()


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    """A quickstart of a constant rate that has run to its end, and is to see twice as many."""
    text = catalog.find(SHELF, "quickstart").read_text()
    text = text.replace("[pretrain.training]", '[pretrain.training]\nschedule = "constant"')
    file, run = tmp_path / "quickstart.toml", Run(tmp_path, "quickstart")
    file.write_text(text)
    for task in load_campaign(str(file)).tasks(run):
        declare(run.task(task.key), task)
        run.task(task.key).done.touch()
        training_data.write(run.task(task.key).path, TrainingData())
    (run.task("pretrain/m0-d960-s1").checkpoints / "step-000000001600").mkdir(parents=True)
    text = text.replace("events_seen = 1600", "events_seen = 6400")
    file.write_text(text.replace("walltime_minutes = 10", "walltime_minutes = 80", 1))
    return file


def test_a_longer_training_costs_its_rest(cosmotron: Any, tmp_path: Path, longer: Path) -> None:
    told = cosmotron("plan", longer, "--site", "local", "--root", tmp_path)
    seen = "training.events_seen 1600 → 6400; from 1,600 events on"
    assert f"goes on pretrain/m0-d960-s1 (1 node-hours): {seen}" in told.words
    assert "for 4 made again and the rest of 1 that go on." in told.words
    told = cosmotron("plan", longer, "--site", "local", "--root", tmp_path, "--json")
    step = {each["task"]: each for each in json.loads(told.out)["steps"]}["pretrain/m0-d960-s1"]
    assert step["node_hours"] == pytest.approx(1.0), "60 of 80 minutes"
    assert step["meaning"] == "goes on"


def test_a_longer_training_alone_is_asked_for(
    cosmotron: Any, tmp_path: Path, longer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = longer.read_text()
    longer.write_text(text.replace('["frozen", "full", "scratch"]', '["scratch"]'))
    asked = []
    monkeypatch.setattr("typer.confirm", asked.append)
    told = cosmotron("run", longer, "--site", "local", "--root", tmp_path)
    assert asked == ["Go on with these?"]
    assert told.code == 0, told.words
    assert (tmp_path / "quickstart/pretrain/m0-d960-s1/DONE").exists()


def test_many_changes_are_counted() -> None:
    changes = {f"a/{n}": Change(f"a/{n}", "made again", (RATE,)) for n in range(30)}
    head, *shown, total = changing.lines(changes, [], most=3)
    assert head.endswith("Tasks: 30 made again.")
    assert [line.strip() for line in shown] == [
        *(f"made again      a/{n}: training.learning_rate 0.002 → 0.001" for n in range(3)),
        "and 27 more (--json has all)",
    ]
    assert "0 node-hours in jobs of their own for 30 made again. What they made is kept" in total
