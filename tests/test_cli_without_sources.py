"""The verbs of a run whose raw files were removed after they were staged."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from staged_alone import write_sources
from whole_campaign import SMALL_PRETRAINING

from pipeline.campaign import declare, load_campaign
from pipeline.data import training_data
from pipeline.data.training_data import TrainingData
from pipeline.run import Run

DATASET = """
name = "c"

[datasets.ours]
experiment = "sphenix"
neighbours = 3
folder = "{folder}"
splits = {{ train = ["*.npz"] }}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign that has run, and whose raw files are gone; its run is below the same folder."""
    write_sources(tmp_path / "raw", 2)
    path = tmp_path / "c.toml"
    path.write_text(DATASET.format(folder=tmp_path / "raw") + SMALL_PRETRAINING)
    run = Run(tmp_path, "c")
    for task in load_campaign(str(path)).tasks(run):
        declare(run.task(task.key), task)
        run.task(task.key).done.touch()
        training_data.write(run.task(task.key).path, TrainingData())
        run.task(task.key).logs.mkdir()
        (run.task(task.key).logs / "run.log").write_text("step 1\n")
    shutil.rmtree(tmp_path / "raw")
    return path


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("status", "pretrain/m-d4-s1"),
        ("plan", "stage/ours"),
        ("logs pretrain/m-d4-s1", "step 1"),
        ("forecast", "no job was submitted yet"),
        ("budget", "no record yet"),
        ("report", "index.html"),
        ("stop", "STOP"),
        ("cancel", "cancelled 0 job(s)"),
    ],
)
def test_it_needs_no_raw_files(
    cosmotron: Any, tmp_path: Path, file: Path, verb: str, told: str
) -> None:
    name, *rest = verb.split()
    said = cosmotron(name, file, *rest, "--site", "local", "--root", tmp_path)
    assert "no file matches" not in said.words
    assert told.lower() in said.words.lower(), said.words
