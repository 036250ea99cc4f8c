"""The verbs archive and restore, and what can be done with a run that was restored."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from whole_campaign import TINY, fingerprint, run_campaign

from pipeline.campaign import declare, load_campaign, to_toml
from pipeline.outcome import Exit
from pipeline.run import Run
from pipeline.site import load_site
from pipeline.writing import write_text

LAST = "evaluate/tracking-m-scratch-l8-s1"


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    """A run that has been declared, with a store of one shard, and nothing more."""
    campaign, run = load_campaign(str(TINY)), Run(tmp_path / "runs", "tiny")
    for task in campaign.tasks(run):
        declare(run.task(task.key), task)
    write_text(run.declaration, to_toml(campaign))
    write_text(run.site, to_toml(load_site("local")))
    write_text(run.store("labelled") / "train" / "00000-000" / "zarr.json", "{}")
    return run


def test_a_run_is_packed_and_restored(
    cosmotron: Any, begun: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = cosmotron("archive", begun.path)
    assert told.code == 0, told.words
    assert "Packed 13 files of tiny into tiny.tar" in told.words
    assert "keep both" in told.words
    assert "shards of a store" in told.words
    assert "cosmotron run makes it again (stage/labelled) if a task needs it" in told.words
    told = cosmotron("restore", "tiny.tar", "--to", "back")
    assert told.code == 0, told.words
    assert "Every checksum agrees (the whole file too)" in told.words
    assert "cosmotron status back/tiny" in told.words
    assert "stage/labelled" in cosmotron("status", "back/tiny").words


def test_the_same_for_scripts(cosmotron: Any, begun: Run, tmp_path: Path) -> None:
    words = ("archive", TINY, "--site", "local", "--root", begun.root)
    found = json.loads(cosmotron(*words, "--to", tmp_path / "a.tar", "--json").out)
    assert (found["campaign"], found["members"], found["is_private"]) == ("tiny", 13, False)
    assert [each["path"] for each in found["left_out"]] == ["data/labelled.zarr/train"]
    told = cosmotron("restore", tmp_path / "a.tar", "--to", tmp_path / "back", "--json")
    back = json.loads(told.out)
    assert back["sha256"] == found["sha256"]
    assert Path(back["run"]) == tmp_path / "back" / "tiny"


def test_two_targets_are_refused(cosmotron: Any, begun: Run) -> None:
    told = cosmotron("archive", begun.path, "--to", "a.tar", "--htar", "a.tar")
    assert told.code == Exit.USAGE
    assert "--to and --htar exclude each other" in told.words


def test_what_is_no_archive_is_one_message(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("restore", tmp_path / "none.tar", "--to", tmp_path)
    assert told.code == Exit.FAILED
    assert "none.tar" in told.words
    assert "Traceback" not in told.words


@pytest.mark.parametrize("verb", ["status", "report", "budget", "archive"])
def test_a_folder_that_is_no_run(cosmotron: Any, tmp_path: Path, verb: str) -> None:
    (tmp_path / "empty").mkdir()
    told = cosmotron(verb, tmp_path / "empty")
    assert told.code == Exit.USAGE
    assert "no run: campaign.toml is not there. Give a run folder." in told.words


def test_a_run_folder_has_its_root(cosmotron: Any, begun: Run) -> None:
    told = cosmotron("status", begun.path, "--root", begun.root)
    assert told.code == Exit.USAGE
    assert "leave --root out" in told.words


@pytest.mark.parametrize("folder", ["locked", "locked/deep"])
def test_a_place_that_cannot_be_written(
    cosmotron: Any, begun: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The tests run as root, whom no permission stops: the error is that of the system."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / folder))

    monkeypatch.setattr("pipeline.release.tarring.os.open", refuse)
    told = cosmotron("archive", begun.path, "--to", tmp_path / "a.tar")
    assert told.code == Exit.CANNOT_WRITE
    assert "Permission denied. Get write permission there" in told.words
    monkeypatch.undo()
    assert cosmotron("archive", begun.path, "--to", tmp_path / "a.tar").code == 0
    monkeypatch.setattr("pipeline.release.restore.make_folder", refuse)
    told = cosmotron("restore", tmp_path / "a.tar", "--to", tmp_path / folder)
    assert told.code == Exit.CANNOT_WRITE
    assert "Permission denied. Get write permission there" in told.words


@pytest.mark.slow
def test_a_restored_run_is_read_and_goes_on(
    cosmotron: Any, uninterrupted: Path, tmp_path: Path
) -> None:
    archive, back = tmp_path / "tiny.tar", Run(tmp_path / "back", "tiny")
    assert cosmotron("archive", uninterrupted / "tiny", "--to", archive).code == 0
    assert cosmotron("restore", archive, "--to", back.root).code == 0
    assert not list(back.path.glob("data/*.zarr/*/*")), "no shards were packed"
    status = json.loads(cosmotron("status", back.path, "--json").out)
    assert {row["state"] for row in status} == {"done"}
    assert cosmotron("report", back.path).out.strip() == str(back.page)
    assert "Not everything could be read" not in back.page.read_text()
    hours = [
        json.loads(cosmotron("budget", run, "--json").out)["rows"]
        for run in (uninterrupted / "tiny", back.path)
    ]
    assert hours[0] == hours[1]
    exported = cosmotron("export", back.path, "pretrain/m-d24-s1", "--to", tmp_path / "m")
    assert exported.code == 0, exported.words
    finished = {path: path.stat().st_mtime_ns for path in back.path.glob("*/*/weights.safetensors")}
    shutil.rmtree(back.task(LAST).path)
    ended = run_campaign(back.root)
    assert ended.returncode == 0, ended.stderr
    assert fingerprint(back.root)[LAST] == (fingerprint(uninterrupted)[LAST])
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert fingerprint(back.root)["labelled.zarr"] == fingerprint(uninterrupted)["labelled.zarr"]
    assert not list(back.store("unlabelled").glob("*/*")), "nothing that is to be done reads it"
