"""Every verb on a run whose raw files were removed, and its campaign's file too.

A verb that comes later needs a line here: what it does, or what it says that it needs.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from staged_alone import write_sources
from typer.main import get_command
from whole_campaign import SMALL_PRETRAINING

from pipeline.campaign import declare, load_campaign, to_toml
from pipeline.cli import app
from pipeline.data import training_data
from pipeline.data.training_data import TrainingData
from pipeline.run import Run
from pipeline.site import load_site

DATASET = """
name = "c"

[datasets.ours]
experiment = "sphenix"
neighbours = 3
folder = "{folder}"
splits = {{ train = ["*.npz"] }}
"""


# What each verb prints for a finished run whose sources are gone. {run} is the run folder, {file}
# the campaign's file, which is there only for the lines of `BY_FILE`.
BY_FILE = (
    ("status {file}", "pretrain/m-d4-s1"),
    ("plan {file}", "stage/ours"),
    ("run {file} --dry-run", "stage/ours"),
    ("logs {file} pretrain/m-d4-s1", "step 1"),
    ("forecast {file}", "no job was submitted yet"),
    ("budget {file}", "no record yet"),
    ("report {file}", "index.html"),
    ("stop {file}", "STOP"),
    ("cancel {file}", "cancelled 0 job(s)"),
)
BY_FOLDER = (
    ("run {run} --yes", "report/index.html"),
    ("run {run} --dry-run", "stage/ours"),
    ("plan {run}", "stage/ours"),
    ("plan {run} --json", "stage/ours"),
    ("status {run}", "pretrain/m-d4-s1"),
    ("status {run} --settle", "pretrain/m-d4-s1"),
    ("logs {run} pretrain/m-d4-s1", "step 1"),
    ("forecast {run}", "no job was submitted yet"),
    ("budget {run} --by user", "no record yet"),
    ("budget {run} {run} --by cell", "Name each once"),
    ("report {run}", "index.html"),
    ("report {run} --format csv", "finetune,task,model"),
    ("compare {run} {run}", "Name each once"),
    ("crate {run}", "ro-crate-metadata.json"),
    ("export {run} pretrain/m-d4-s1 --to {run}/out", "nothing to export"),
    ("predict {run} finetune/m-d4-s1 {run}/x.npz --to {run}/o.npz", "No fine-tuning"),
    ("archive {run} --to {run}.tar", "{run}.tar"),
    ("restore {run}.tar --to {run}/..", "no such file"),
    ("touch {run}", "what is still read"),
    ("transfer {run} there:/scratch/c", "rsync"),
    ("transfer {run} --check", "no manifest"),
    ("rehearse {run} --site perlmutter", "planned"),
    ("stop {run}", "STOP"),
    ("stop {run} --undo", "no stop request"),
    ("cancel {run}", "cancelled 0 job(s)"),
    ("stage {run}/like.zarr --like {run}:ours", "Or copy the store that was staged of them: {run}"),
    ("data inspect {run}/data/ours.zarr", "manifest.json"),
    ("data verify {run}/data/ours.zarr", "manifest.json"),
    ("data sources {run}/data/ours.zarr", "manifest.json"),
    ("data locate {run}/data/ours.zarr 7", "manifest.json"),
    ("data plot {run}/data/ours.zarr", "manifest.json"),
    ("weights export {run}/pretrain/m-d4-s1 --to w.pt", "Give a folder of cosmotron export"),
    (
        "weights onnx {run}/pretrain/m-d4-s1 {run}/data/ours.zarr --to w.onnx",
        "with cosmotron export",
    ),
    ("status {file}", "no such file. A run has a copy: name its folder"),
    ("plan {file}", "no such file. A run has a copy: name its folder"),
    ("run {file}", "no such file. A run has a copy: name its folder"),
)
OF_NO_RUN = {"campaigns", "models", "simulate", "sites check", "sites init", "sites list"}
OF_NO_RUN |= {"sites show", "weights import"}


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


@pytest.fixture
def folder(file: Path) -> Path:
    """The folder of that run, whose campaign's file is gone too."""
    run = Run(file.parent, "c")
    run.store("ours").mkdir(parents=True)
    run.declaration.write_text(to_toml(load_campaign(str(file))))
    run.site.write_text(to_toml(load_site("local")))
    file.unlink()
    return run.path


@pytest.mark.parametrize(("line", "told"), BY_FILE)
def test_it_needs_no_raw_files(
    cosmotron: Any, tmp_path: Path, file: Path, line: str, told: str
) -> None:
    words = line.format(file=file).split()
    said = cosmotron(*words, "--site", "local", "--root", tmp_path)
    assert "no file matches" not in said.words
    assert told.lower() in said.words.lower(), said.words


@pytest.mark.parametrize(("line", "told"), BY_FOLDER)
def test_it_needs_no_file_of_the_campaign_either(
    cosmotron: Any, tmp_path: Path, folder: Path, line: str, told: str, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    said = cosmotron(*line.format(run=folder, file=tmp_path / "c.toml").split())
    assert "Traceback" not in said.err
    assert told.format(run=folder).lower() in said.words.lower(), said.words


def test_every_verb_has_a_line() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    verbs = {
        f"{name} {part}".strip()
        for name, verb in group.commands.items()
        for part in (getattr(verb, "commands", None) or [""])
    }
    tried = {" ".join(line.split()[:2]) for line, _ in BY_FOLDER}
    tried |= {line.split()[0] for line, _ in BY_FOLDER}
    assert verbs - tried == OF_NO_RUN, "say what the verb does on a run without sources, above"
