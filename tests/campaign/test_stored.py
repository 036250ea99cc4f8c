"""A task's declaration on disk: complete, movable, and of a format that is told."""

import shutil
from pathlib import Path

import pytest

from pipeline.campaign import PretrainTask, StageTask, declare, load_campaign, stored, to_toml
from pipeline.catalog import DeclarationError
from pipeline.run import Run, TaskFolder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs", "quickstart")
    for task in load_campaign("quickstart").tasks(run):
        declare(run.task(task.key), task)
    return run


def pretraining(run: Run) -> TaskFolder:
    return run.task("pretrain/m0-d960-s1")


def test_no_path_of_the_run_is_in_it_so_that_it_can_be_moved(tmp_path: Path, run: Run) -> None:
    for path in run.path.glob("*/*/task.toml"):
        assert str(tmp_path) not in path.read_text(), path
    shutil.move(run.path, tmp_path / "moved")
    moved = Run(tmp_path, "moved")
    for task in load_campaign("quickstart").tasks(moved):
        assert stored.read_any(moved.task(task.key)) == task


def test_a_task_outside_a_run_moves_with_the_folder_that_it_is_in(tmp_path: Path) -> None:
    run = Run(tmp_path / "runs", "quickstart")
    stage = next(each for each in load_campaign("quickstart").tasks(run) if each.stage == "stage")
    assert isinstance(stage, StageTask)
    alone = stage.model_copy(update={"store": tmp_path / "here" / "x.zarr"})
    declare(TaskFolder(tmp_path / "here" / "x.staging"), alone)
    shutil.move(tmp_path / "here", tmp_path / "there")
    found = stored.read(TaskFolder(tmp_path / "there" / "x.staging"), StageTask)
    assert found.store == tmp_path / "there" / "x.zarr"
    assert found.sources == alone.sources, "paths elsewhere stay"


def test_a_declaration_of_the_first_format_is_read(run: Run) -> None:
    folder = pretraining(run)
    task = stored.read(folder, PretrainTask)
    folder.declaration.write_text(to_toml(task))  # as it was written: absolute, without a format
    assert stored.read(folder, PretrainTask) == task
    declare(folder, task)


def test_a_key_that_it_does_not_have_yet_has_its_default(run: Run) -> None:
    folder = pretraining(run)
    whole = folder.declaration.read_text()
    for line in ("amsgrad = false\n", 'combine = "add"\n', "one_pass = false\n"):
        assert line in whole
        folder.declaration.write_text(whole.replace(line, ""))
        declare(folder, stored.read_any(folder))


def test_what_only_says_how_it_runs_is_written_anew(run: Run) -> None:
    folder = pretraining(run)
    task = stored.read(folder, PretrainTask)
    training = task.training.model_copy(update={"walltime_minutes": 77})
    declare(folder, task.model_copy(update={"training": training}))
    assert stored.read(folder, PretrainTask).training.walltime_minutes == 77


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = 99\n", "format 99; this version of Cosmotron reads formats 1 to 2. Use"),
        ('stage = "dance"\n', "stage 'dance' is none of: simulate, stage,"),
        ("= 3", "not valid TOML"),
        ('stage = "pretrain"\nseed = "x"\n', "seed: Input should be a valid integer"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file(run: Run, text: str, message: str) -> None:
    folder = pretraining(run)
    folder.declaration.write_text(text)
    with pytest.raises(DeclarationError) as told:
        stored.read_any(folder)
    assert str(told.value).startswith(str(folder.declaration))
    assert message in str(told.value)


def test_none_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"x/task.toml: cannot be read \(No such file"):
        stored.read_any(TaskFolder(tmp_path / "x"))
