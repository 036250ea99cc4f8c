"""Own code and weights are known by their content: moved they are the same, edited they are not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_campaign import FULL, PRETRAINED, SCRATCH, STAGED, campaign, finish, meanings
from staged_alone import write_sources

from pipeline.campaign import Campaign, model_folder, stored
from pipeline.campaign.model_folder import ModelFolder, StoredWeights
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.planning import changes
from pipeline.run import Run

Changed = dict[str, Any]
MODEL = """
def build(settings): ...
def backbone(settings): ...
def nearest(output, batch): ...
"""
TASK = """
class Mine:
    def build(self): ...
    def loss(self): ...
    def predict(self): ...
    def score(self): ...
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[[Path], Campaign]:
    """The campaign with a model, an objective and a downstream task of files in a folder."""
    write_sources(tmp_path / "raw", 3)

    def asked(code: Path) -> Campaign:
        def change(content: Changed) -> None:
            content["models"]["m"] = {
                "family": f"{code}/model.py:build",
                "columns": ["energy"],
                "hidden_width": 4,
                "neighbours": 1,
                "objectives": {"nearest": 1.0, f"{code}/loss.py:mine": 2.0},
            }
            content["finetune"]["tracking"]["head"] = {
                "task": f"{code}/task.py:Mine",
                "per_point": ["track_id"],
                "scores": {"s": "score"},
            }

        return campaign(tmp_path, tmp_path / "raw", change)

    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    (folder / "loss.py").write_text("def mine(output, batch): ...\n")
    (folder / "task.py").write_text(TASK)
    return asked


def test_own_code_that_was_moved_is_the_same(
    tmp_path: Path, own: Callable[[Path], Campaign], run: Run
) -> None:
    finish(own(tmp_path / "code").tasks(run), run)
    moved = (tmp_path / "code").rename(tmp_path / "elsewhere")
    tasks = own(moved).tasks(run)
    assert set(meanings(tasks, run).values()) == {"the same"}
    changes.apply(changes.compare(tasks, run), tasks, run)
    assert str(moved / "model.py") in run.task(PRETRAINED).declaration.read_text()
    (moved / "model.py").rename(moved / "mine.py")
    stored.read_any(run.task(PRETRAINED))  # also of code that is gone


@pytest.mark.parametrize(
    ("name", "key", "again"),
    [
        ("model.py", "model.code", {PRETRAINED, FULL, SCRATCH}),
        ("loss.py", "code of model.objectives.loss.py:mine", {PRETRAINED, FULL, SCRATCH}),
        ("task.py", "head.code", {FULL, SCRATCH}),
    ],
)
def test_own_code_that_was_edited_makes_again_what_was_made_by_it(
    tmp_path: Path, own: Callable[[Path], Campaign], run: Run, name: str, key: str, again: set[str]
) -> None:
    finish(own(tmp_path / "code").tasks(run), run)
    with (tmp_path / "code" / name).open("a") as file:
        file.write("# another\n")
    found = changes.compare(own(tmp_path / "code").tasks(run), run)
    changed = {each.key for each in found.values() if each.meaning == "made again"}
    evaluated = {each.replace("finetune", "evaluate") for each in again & {FULL, SCRATCH}}
    assert changed == again | evaluated
    assert f"{key} (SHA-256 " in str(found[SCRATCH])
    assert found[STAGED].meaning == "the same"


def test_what_an_earlier_version_declared_goes_by_the_names(
    tmp_path: Path, own: Callable[[Path], Campaign], run: Run
) -> None:
    tasks = own(tmp_path / "code").tasks(run)
    finish([task.model_copy(update={"contents": {}}) for task in tasks], run)
    moved = (tmp_path / "code").rename(tmp_path / "elsewhere")
    tasks = own(moved).tasks(run)
    assert set(meanings(tasks, run).values()) == {"the same"}


@pytest.fixture
def started(tmp_path: Path) -> Callable[[Path], Campaign]:
    """The campaign whose model starts from the weights in a folder."""
    write_sources(tmp_path / "raw", 3)

    def asked(weights: Path) -> Campaign:
        def change(content: Changed) -> None:
            content["models"]["m"]["weights"] = str(weights)
            content["models"]["given"] = dict(content["models"]["m"])
            content["finetune"]["tracking"]["models"] = ["m", "given"]

        return campaign(tmp_path, tmp_path / "raw", change)

    return asked


def write_weights(folder: Path, digest: str) -> Path:
    folder.mkdir()
    model = FM4NPPMamba2(width=32, layers=2, neighbours=3)
    model_folder.write(folder, ModelFolder(model=model, weights=StoredWeights(sha256=digest)))
    return folder


def test_weights_that_were_moved_are_the_same_and_others_are_not(
    tmp_path: Path, started: Callable[[Path], Campaign], run: Run
) -> None:
    there = write_weights(tmp_path / "w", "a" * 64)
    finish(started(there).tasks(run), run)
    moved = there.rename(tmp_path / "v")
    assert set(meanings(started(moved).tasks(run), run).values()) == {"the same"}
    other = write_weights(tmp_path / "u", "b" * 64)
    found = changes.compare(started(other).tasks(run), run)
    assert str(found[PRETRAINED]) == (
        f"model.weights {there} (SHA-256 aaaaaaaa…) → {other} (SHA-256 bbbbbbbb…)"
    )
    frozen = "finetune/tracking-given-full-l2-s1"
    assert "backbone" in str(found[frozen])
    assert found[SCRATCH].meaning == "the same"


def test_weights_that_are_gone_are_still_known_by_a_finished_run(
    tmp_path: Path, started: Callable[[Path], Campaign], run: Run
) -> None:
    there = write_weights(tmp_path / "w", "a" * 64)
    asked = started(there)
    tasks = asked.tasks(run)
    finish(tasks, run)
    run.declaration.touch()
    shutil.rmtree(there)
    tasks = asked.tasks(run)
    found = changes.compare(tasks, run)
    assert {each.meaning for each in found.values()} == {"the same"}
    changes.apply(found, tasks, run)
    write_weights(there, "b" * 64)
    assert meanings(asked.tasks(run), run)[PRETRAINED] == "made again", "its content is on record"
