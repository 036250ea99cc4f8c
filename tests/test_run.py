import errno
import os
from pathlib import Path

import pytest

from pipeline import records
from pipeline.leftovers import hidden
from pipeline.outcome import Exit, RunError
from pipeline.records import Trained
from pipeline.run import Run, TaskFolder
from pipeline.writing import read_json, write_json, write_text


def test_every_path_is_below_the_run_folder(tmp_path: Path) -> None:
    run = Run(tmp_path, "quickstart")
    task = run.task("pretrain/m0")
    named = [getattr(run, name) for name in dir(Run) if isinstance(getattr(Run, name), property)]
    paths = [path for path in named if isinstance(path, Path)]
    paths += [run.store("labelled"), task.declaration, task.logs, task.parts, task.metrics]
    paths += [task.progress, task.checkpoints, task.result, task.done, task.claim]
    assert all(path == run.path or path.is_relative_to(run.path) for path in paths)
    assert len(set(paths)) == len(paths)


def test_a_finished_task_is_done(tmp_path: Path) -> None:
    task = TaskFolder(tmp_path / "task")
    assert not task.is_done
    task.finish(Trained(loss=1.5))
    assert task.is_done
    assert records.read(task.result, Trained) == Trained(loss=1.5)


def test_a_failed_task_says_why_and_is_not_done(tmp_path: Path) -> None:
    task = TaskFolder(tmp_path)
    task.fail("bad input", "no tree named T")
    assert read_json(task.result) == {"outcome": "bad input", "message": "no tree named T"}
    assert not task.is_done


def test_only_85_asks_for_another_link() -> None:
    assert Exit.CONTINUE == 85
    assert len(set(Exit)) == len(Exit.__members__)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert read_json(tmp_path / "a" / "b.json") == {"x": 1}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") is None


def test_damage_is_never_a_fresh_start(tmp_path: Path) -> None:
    path = tmp_path / "torn.json"
    path.write_text('{"done": 1')
    with pytest.raises(RunError, match=r"torn.json: damaged \(.*\). Move it away and run again"):
        read_json(path)


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(RunError, match=r"list.json: expected a JSON object, found list"):
        read_json(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_leaves_the_old_text_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    # what is written first, next to it, fills the disk
    hidden(path).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_text(tmp_path / "result.json", "new")
    tmp_path.chmod(0o700)


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(OSError, match="logs"):
        write_text(tmp_path / "logs" / "job.log", "new")


def test_a_run_keeps_its_identity_and_another_at_the_same_place_has_its_own(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, "tiny")
    run.identify()
    first = run.identity
    run.identify()
    assert run.identity == first
    run.identity_file.unlink()
    run.identify()
    assert run.identity != first
