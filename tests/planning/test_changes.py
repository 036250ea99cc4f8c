"""What a changed campaign means for a run, and what is moved aside when it is run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_campaign import FULL, PRETRAINED, SCRATCH, STAGED, campaign, finish, meanings
from staged_alone import write_sources

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import declare
from pipeline.catalog import DeclarationError
from pipeline.outcome import RunError
from pipeline.planning import changes
from pipeline.planning.changes import Change
from pipeline.run import Run


def set_rate(content: dict[str, Any]) -> None:
    content["pretrain"]["training"]["learning_rate"] = 1e-4


def test_a_campaign_that_never_ran_is_new(tmp_path: Path, raw: Path, run: Run) -> None:
    assert set(meanings(campaign(tmp_path, raw).tasks(run), run).values()) == {"new"}


def test_nothing_changed_is_the_same_also_after_a_move(tmp_path: Path, raw: Path, run: Run) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)
    moved = Run(tmp_path / "elsewhere", "c")
    run.root.rename(moved.root)
    for there in (moved, Run(Path("elsewhere"), "c")):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            tasks = campaign(tmp_path, raw).tasks(there)
            assert set(meanings(tasks, there).values()) == {"the same"}, there


def test_a_changed_pretraining_is_made_again_with_what_was_made_of_it(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)
    found = changes.compare(campaign(tmp_path, raw, set_rate).tasks(run), run)
    evaluated = FULL.replace("finetune", "evaluate")
    assert str(found[PRETRAINED]) == "training.learning_rate 0.002 → 0.0001"
    assert found[FULL] == Change(FULL, "made again", since=PRETRAINED)
    assert str(found[FULL]) == f"made of {PRETRAINED}, whose product is replaced"
    assert found[evaluated].since == FULL
    assert {found[key].meaning for key in (STAGED, SCRATCH)} == {"the same"}


def test_a_failed_task_without_a_product_is_declared_anew(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    for task in campaign(tmp_path, raw).tasks(run):
        declare(run.task(task.key), task)
    run.task(PRETRAINED).fail("bad input", "5 classes, the model has 3")
    tasks = campaign(tmp_path, raw, set_rate).tasks(run)
    assert changes.compare(tasks, run)[PRETRAINED].meaning == "new"
    assert changes.apply(changes.compare(tasks, run), tasks, run) is None
    assert not changes.compare(tasks, run)[PRETRAINED].differences
    assert not run.replaced.exists()


def test_a_training_with_a_checkpoint_goes_on_or_is_made_again(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    tasks = campaign(tmp_path, raw).tasks(run)
    finish(tasks, run)
    folder = run.task(PRETRAINED)
    folder.done.unlink()
    (folder.checkpoints / "step-000000000004").mkdir(parents=True)
    assert meanings(tasks, run)[PRETRAINED] == "goes on"
    changed = campaign(tmp_path, raw, set_rate).tasks(run)
    assert meanings(changed, run)[PRETRAINED] == "made again"


def test_files_that_lie_elsewhere_are_the_same_and_others_are_named(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)
    moved = raw.rename(tmp_path / "archive")
    assert meanings(campaign(tmp_path, moved).tasks(run), run)[STAGED] == "the same"
    write_sources(tmp_path / "more", 4)
    added = (tmp_path / "more" / "spacepoints_003.npz").rename(moved / "spacepoints_003.npz")
    found = changes.compare(campaign(tmp_path, moved).tasks(run), run)
    assert f"sources.train (not there) → {added}" in str(found[STAGED])
    assert found[PRETRAINED].since == STAGED, "it saw fewer events"


def test_a_file_of_another_size_is_another_file(tmp_path: Path, raw: Path, run: Run) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)
    moved = raw.rename(tmp_path / "archive")
    with (moved / "spacepoints_001.npz").open("ab") as stream:
        stream.write(b"more")
    assert meanings(campaign(tmp_path, moved).tasks(run), run)[STAGED] == "made again"


def test_files_that_are_not_on_this_machine_cannot_differ(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)

    def elsewhere(content: dict[str, Any]) -> None:
        content["datasets"]["ours"] |= {"folder": "/nowhere", "files": {"train": 2, "test": 1}}

    tasks = campaign(tmp_path, raw, elsewhere).tasks(run, elsewhere=True)
    assert meanings(tasks, run)[STAGED] == "the same"


def test_what_is_not_asked_any_more_is_told_and_left_alone(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)

    def fewer(content: dict[str, Any]) -> None:
        content["finetune"]["tracking"]["modes"] = ["full"]

    tasks = campaign(tmp_path, raw, fewer).tasks(run)
    found = changes.compare(tasks, run)
    assert [key for key, each in found.items() if each.meaning == "no longer asked"] == [
        SCRATCH.replace("finetune", "evaluate"),
        SCRATCH,
    ]
    assert changes.apply(found, tasks, run) is None
    assert run.task(SCRATCH).is_done


def test_what_is_made_again_is_kept_aside_and_everything_is_declared(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)

    def sorted_otherwise(content: dict[str, Any]) -> None:
        content["datasets"]["ours"]["order"] = "PER"

    tasks = campaign(tmp_path, raw, sorted_otherwise).tasks(run)
    aside = changes.apply(changes.compare(tasks, run), tasks, run)
    assert aside == run.replaced / "001"
    assert (aside / "data" / "ours.zarr" / "manifest.json").is_file()
    assert (aside / FULL / "DONE").is_file()
    assert not run.store("ours").exists()
    assert set(meanings(tasks, run).values()) == {"new"}
    finish(tasks, run)
    back = campaign(tmp_path, raw).tasks(run)
    assert changes.apply(changes.compare(back, run), back, run) == run.replaced / "002"


def test_a_kill_in_between_leaves_nothing_done_of_what_is_gone(
    tmp_path: Path, raw: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)

    def sorted_otherwise(content: dict[str, Any]) -> None:
        content["datasets"]["ours"]["order"] = "PER"

    tasks = campaign(tmp_path, raw, sorted_otherwise).tasks(run)
    rename = Path.rename
    for moves in range(20):
        left = iter(range(moves))

        def dies(path: Path, to: Path, left: Any = left) -> Path:
            if "replaced" in to.parts and next(left, None) is None:
                raise KeyboardInterrupt
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", dies)
        try:
            changes.apply(changes.compare(tasks, run), tasks, run)
        except KeyboardInterrupt:
            pass
        else:
            break
        done = {task.key for task in tasks if run.task(task.key).is_done}
        for task in tasks:
            assert task.key not in done or done.issuperset(task.needs), moves
    monkeypatch.setattr(Path, "rename", rename)
    assert moves >= 3
    assert set(meanings(tasks, run).values()) == {"new"}
    assert len(list(run.replaced.glob("*/*/*/DONE"))) == len(tasks), "nothing was lost"


def test_what_is_at_work_is_not_moved(tmp_path: Path, raw: Path, run: Run) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)
    record = Record(
        kind=Kind.SUBMIT, time=1.0, site="local", stage="finetune", task=FULL, job_key="k",
        job_id="77", nodes=1,
    )  # fmt: skip
    Ledger(run.ledger).append(record)
    tasks = campaign(tmp_path, raw, set_rate).tasks(run)
    with pytest.raises(
        RunError, match=r"full-l2-s1 \(job 77\): the campaign was changed .* cancel"
    ):
        changes.apply(changes.compare(tasks, run), tasks, run)
    assert run.task(PRETRAINED).is_done


def test_raw_files_may_be_removed_once_they_are_staged(tmp_path: Path, raw: Path, run: Run) -> None:
    asked = campaign(tmp_path, raw)
    finish(asked.tasks(run), run)
    (raw / "spacepoints_002.npz").unlink()
    tasks = asked.tasks(run)
    assert set(meanings(tasks, run).values()) == {"the same"}, "some are gone"
    changes.apply(changes.compare(tasks, run), tasks, run)
    assert "spacepoints_002.npz" in run.task(STAGED).declaration.read_text(), "it was staged"
    shutil.rmtree(raw)
    assert set(meanings(asked.tasks(run), run).values()) == {"the same"}, "all are gone"


def test_raw_files_that_were_never_staged_are_missed(tmp_path: Path, raw: Path, run: Run) -> None:
    asked = campaign(tmp_path, raw)
    shutil.rmtree(raw)
    with pytest.raises(DeclarationError, match="no file matches"):
        asked.tasks(run)


def test_a_file_that_is_left_out_and_still_there_is_a_change(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    finish(campaign(tmp_path, raw).tasks(run), run)

    def fewer(content: dict[str, Any]) -> None:
        content["datasets"]["ours"]["splits"]["train"] = ["*_001.npz"]

    found = changes.compare(campaign(tmp_path, raw, fewer).tasks(run), run)
    assert str(found[STAGED]) == f"sources.train {raw}/spacepoints_002.npz → (not there)"
