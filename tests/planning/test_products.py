"""Products that are not on the disk any more: purged, or left out of an archive."""

import shutil
from pathlib import Path

import pytest
from small_campaign import FULL, PRETRAINED, STAGED, campaign, finish, meanings
from staged_alone import write_sources

from pipeline.campaign import StageTask, Task
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.cli import changing
from pipeline.data.program import run as run_program
from pipeline.data.stage import STAGE
from pipeline.data.store.manifest import read_manifest
from pipeline.outcome import RunError
from pipeline.planning import changes
from pipeline.records import Trained
from pipeline.run import Run

EVALUATED = FULL.replace("finetune", "evaluate")


@pytest.fixture
def tasks(tmp_path: Path, run: Run) -> list[Task]:
    """The tasks of a finished campaign, whose trainings have weights."""
    write_sources(tmp_path / "raw", 3)
    found = campaign(tmp_path, tmp_path / "raw").tasks(run)
    finish(found, run)
    for task in found:
        if task.stage in ("pretrain", "finetune"):
            (run.task(task.key).path / WEIGHTS).write_text("weights")
            run.task(task.key).finish(Trained(steps=2))
    return found


def reopen(run: Run, *keys: str) -> None:
    """Let the tasks `keys` be as if they had not begun."""
    for key in keys:
        shutil.rmtree(run.task(key).path)


def store_of(tasks: list[Task]) -> Path:
    return next(task.store for task in tasks if isinstance(task, StageTask))


def test_a_finished_campaign_misses_nothing(run: Run, tasks: list[Task]) -> None:
    assert set(meanings(tasks, run).values()) == {"the same"}


@pytest.mark.parametrize(
    ("key", "meaning"), [(STAGED, "goes on"), (PRETRAINED, "new"), (FULL, "new")]
)
def test_a_marker_that_was_purged_is_told_with_how_to_keep_the_product(
    run: Run, tasks: list[Task], key: str, meaning: str
) -> None:
    done = run.task(key).done
    done.unlink()
    found = changes.compare(tasks, run)[key]
    assert found.meaning == meaning
    marked = (
        f"its product is there, and its marker is gone, as after a purge. Keep it: touch {done}"
    )
    assert str(found) == marked
    lines = changing.lines(changes.compare(tasks, run), ())
    assert lines[0].startswith(changing.LOST)
    assert f"  {meaning:<15} {key}: {marked}" in lines
    done.touch()
    assert set(meanings(tasks, run).values()) == {"the same"}


def test_without_its_product_a_marker_is_no_use(run: Run, tasks: list[Task]) -> None:
    run.task(PRETRAINED).done.unlink()
    (run.task(PRETRAINED).path / WEIGHTS).unlink()
    assert str(changes.compare(tasks, run)[PRETRAINED]) == ""


def test_a_store_that_nothing_needs_is_told_and_left_alone(run: Run, tasks: list[Task]) -> None:
    shutil.rmtree(store_of(tasks))
    found = changes.compare(tasks, run)
    assert found.pop(STAGED).meaning == "missing"
    assert {each.meaning for each in found.values()} == {"the same"}
    assert changes.apply(changes.compare(tasks, run), tasks, run) is None
    assert run.task(STAGED).is_done


def test_a_store_is_staged_again_where_a_task_to_do_reads_it(run: Run, tasks: list[Task]) -> None:
    store = store_of(tasks)
    before = read_manifest(store)
    whole, lost, *_ = sorted(store.glob("*/*/points"))
    shutil.rmtree(lost)
    kept = whole.stat().st_mtime_ns
    reopen(run, EVALUATED)
    found = changes.compare(tasks, run)
    assert {key: each.meaning for key, each in found.items() if each.meaning != "the same"} == {
        STAGED: "recreated",
        EVALUATED: "new",
    }
    assert str(found[STAGED]).startswith("data/ours.zarr/")
    assert str(found[STAGED]).endswith(f" is not on the disk; {EVALUATED} needs it")
    assert changes.apply(found, tasks, run) is None
    assert meanings(tasks, run)[STAGED] == "goes on"
    for step in (*(f"--part {number}" for number in range(3)), "--finish"):
        assert run_program(STAGE, [str(run.task(STAGED).path), *step.split()]) == 0
    assert read_manifest(store).content_sha256 == before.content_sha256
    assert whole.stat().st_mtime_ns == kept
    assert meanings(tasks, run)[STAGED] == "the same"


def test_weights_that_a_task_to_do_reads_are_trained_once_more(run: Run, tasks: list[Task]) -> None:
    (run.task(PRETRAINED).path / WEIGHTS).unlink()
    assert meanings(tasks, run)[PRETRAINED] == "missing"
    reopen(run, EVALUATED)
    assert meanings(tasks, run)[PRETRAINED] == "missing", "its fine-tuning has weights of its own"
    reopen(run, FULL)
    found = changes.compare(tasks, run)
    assert str(found[PRETRAINED]).endswith(
        f"weights.safetensors is not on the disk; {FULL} needs it"
    )
    aside = changes.apply(found, tasks, run)
    assert aside is not None
    assert (aside / PRETRAINED / "result.json").exists()
    scratch = "finetune/tracking-m-scratch-l2-s1"
    assert meanings(tasks, run) | {scratch: "the same"} == meanings(tasks, run)
    assert meanings(tasks, run)[PRETRAINED] == "new"


def test_a_store_that_cannot_be_made_here_is_told_before_anything_is_moved(
    run: Run, tasks: list[Task], tmp_path: Path
) -> None:
    shutil.rmtree(store_of(tasks))
    shutil.rmtree(tmp_path / "raw")
    reopen(run, FULL, EVALUATED)
    found = changes.compare(tasks, run)
    with pytest.raises(RunError, match=r"nor is .*spacepoints_00.*, to make it from") as caught:
        changes.apply(found, tasks, run)
    assert "cosmotron transfer" in str(caught.value)
    assert run.task(STAGED).is_done


def test_only_what_chosen_tasks_read_is_made_once_more(run: Run, tasks: list[Task]) -> None:
    shutil.rmtree(store_of(tasks))
    reopen(run, FULL, EVALUATED, "evaluate/tracking-m-scratch-l2-s1")
    for chosen, needed in (
        ([EVALUATED, FULL], EVALUATED),
        (["evaluate/tracking-m-scratch-l2-s1"], "evaluate/tracking-m-scratch-l2-s1"),
        ([], ""),
    ):
        found = changes.compare(tasks, run, chosen)[STAGED]
        assert found.meaning == ("recreated" if needed else "missing")
        assert str(found).endswith(f"; {needed or 'nothing that is to be done'} needs it")
