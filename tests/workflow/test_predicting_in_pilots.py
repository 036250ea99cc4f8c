"""Files that the pilots of a run predict: as by one process, priced, guarded, charged, resumed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from staged_alone import words_of

pytest.importorskip("parsl")

from pipeline.budget.ledger import Ledger
from pipeline.campaign import declare
from pipeline.data.errors import BadInput
from pipeline.outcome import RunError
from pipeline.planning.plan import RunOptions
from pipeline.planning.waves import log_name, waves
from pipeline.records import FilesPredicted, PredictRequest, Weights
from pipeline.run import Run, TaskFolder
from pipeline.site import load_site
from pipeline.workflow.predicting import _begin_anew, drive, task_of

TUNED = "tracking-m-d24-s1-full-l8-s1"
SOURCE = {"experiment": "sphenix", "order": "file", "max_points": 9}


@pytest.fixture(scope="module")
def run(uninterrupted, tmp_path_factory):
    """A copy of the tiny campaign's run, to which files may be added."""
    pytest.importorskip("deepspeed")
    copy = tmp_path_factory.mktemp("copy") / "tiny"
    shutil.copytree(uninterrupted / "tiny", copy)
    return Run(copy.parent, "tiny")


def predicted(run, files, to, *options):
    words = [sys.executable, "-m", "pipeline", "predict", run.path, TUNED, *files, "--to", to]
    command = [*map(str, words), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def raw(run, folder):
    """Copies of three source files, one of them without labels, of the run's simulation."""
    found = sorted(run.path.glob("simulate/tracks/files/*/*.root"))
    names = (folder / name for name in ("a.root", "b.root"))
    return [Path(shutil.copy(*pair)) for pair in zip(found, names, strict=True)]


@pytest.mark.slow
def test_pilots_write_the_bytes_of_one_process_and_go_on_after_a_failure(run, tmp_path):
    files, to = raw(run, tmp_path), tmp_path / "pilots.parquet"
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:4000])
    before = Ledger(run.ledger).accounts()
    told = predicted(run, files, to, "--pilots", "--yes")
    assert told.returncode != 0
    assert "b.root" in words_of(told)
    assert "at most 0.58 node-hours" in words_of(told).replace("0.5833", "0.58")
    assert not to.exists()
    (folder,) = run.path.glob("predict/pilots-*")
    first = folder / "parts/000.json"
    made = first.stat().st_mtime_ns
    files[1].write_bytes(whole)
    told = predicted(run, files, to, "--pilots", "--yes", "--json")
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert (result["files"], result["events"], result["to"]) == (2, 16, str(to))
    assert result["events_per_second"] > 0
    assert first.stat().st_mtime_ns == made
    alone = predicted(run, files, tmp_path / "alone.parquet")
    assert alone.returncode == 0, alone.stderr
    assert to.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    ended = [each for key, each in Ledger(run.ledger).accounts().items() if key not in before]
    pilots = [each for each in ended if each.stage == "pilot"]
    assert len(pilots) >= 2
    assert all(each.charged_node_hours > 0 for each in pilots)
    assert [each.task for each in ended if each.stage == "predict"] == [f"predict/{folder.name}"]
    assert not (folder / "predictions.parts").exists()


@pytest.mark.slow
def test_pilots_beyond_the_cap_are_not_submitted(run, tmp_path):
    before = Ledger(run.ledger).totals()
    told = predicted(run, raw(run, tmp_path), tmp_path / "p.npz", "--pilots", "--cap", "0.01")
    assert told.returncode != 0
    assert "0.58 node-hours requested" in words_of(told)
    assert "Raise the cap, request less" in words_of(told)
    assert Ledger(run.ledger).totals() == before
    assert not (tmp_path / "p.npz").exists()


def requested(tmp_path, **changes):
    """A request for the files a and b, with a model that seems to be trained."""
    folder = tmp_path / "run/finetune/m"
    folder.mkdir(parents=True, exist_ok=True)
    result = Weights(weights_sha256="w" * 64).model_dump_json()
    (folder / "result.json").write_text(result)
    for name in ("a", "b"):
        (tmp_path / name).touch()
    files = (str(tmp_path / "a"), str(tmp_path / "b"))
    asked = PredictRequest(
        finetuned=str(folder), source=SOURCE, files=files, to=str(tmp_path / "out.parquet")
    )
    return asked.model_copy(update=changes)


def test_the_same_request_is_the_same_task_of_a_part_for_each_file(tmp_path):
    task = task_of(requested(tmp_path))
    assert task == task_of(requested(tmp_path))
    assert task.key.startswith("predict/out-")
    assert task.needs == ("finetune/m",)
    folder = TaskFolder(tmp_path / task.key)
    logs = [[log_name(command) for command in wave] for wave in waves(task, folder)]
    assert logs == [["part-0.log", "part-1.log"], ["finish.log"]]
    others = (
        requested(tmp_path, to=str(tmp_path / "other.parquet")),
        requested(tmp_path, files=(str(tmp_path / "b"),)),
    )
    assert len({task.key, *(task_of(each).key for each in others)}) == 3


def test_a_file_that_is_missing_is_said_before_anything_is_priced(tmp_path):
    asked = requested(tmp_path)
    (tmp_path / "b").unlink()
    with pytest.raises(BadInput, match=r"b: no such file \(1 of 2 missing\)"):
        task_of(asked)
    (tmp_path / "b").touch()
    (tmp_path / "run/finetune/m/result.json").unlink()
    with pytest.raises(RunError, match=r"result\.json: not there"):
        task_of(asked)


def test_what_pilots_finished_without_their_controller_is_taken_as_it_is(tmp_path):
    task, run = task_of(requested(tmp_path)), Run(tmp_path, "run")
    task.to.touch()

    def driven():
        site, options = load_site("local"), RunOptions()
        return drive(task, site, run, options, console=Console(), agree=lambda _: False)

    with pytest.raises(BadInput, match=r"out\.parquet: is there already"):
        driven()
    result = FilesPredicted(
        to="x", files=2, events=1, rejected={}, seconds=1, events_per_second=1, device="cpu"
    )
    run.task(task.key).finish(result)
    assert driven() == result
    task.to.unlink()
    assert driven() is None, "it is asked again, and nobody agrees"


def test_what_was_predicted_and_removed_is_predicted_again(tmp_path):
    task = task_of(requested(tmp_path))
    run = Run(tmp_path, "run")
    folder = run.task(task.key)
    declare(folder, task)
    folder.parts.mkdir()
    (folder.parts / "000.json").touch()
    _begin_anew(folder)
    assert folder.finished_parts, "a part of a request that is not done stays"
    folder.finish(
        FilesPredicted(
            to="x", files=2, events=1, rejected={}, seconds=1, events_per_second=1, device="cpu"
        )
    )
    _begin_anew(folder)
    assert [folder.finished_parts, folder.is_done, folder.result.exists()] == [[], False, False]
    assert run.of_campaign("task.toml") == [], "it is of no campaign"
