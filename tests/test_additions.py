"""One addition, one folder: a family and a downstream task, planted in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.drawing.default import CAPTION

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ADDITIONS = Path(__file__).parent / "additions"
CAMPAIGN = """
name = "added"
seed = 7

[simulations.tracks]
experiment = "sphenix"
format = "root"
files = {{ train = 1, test = 1 }}
events_per_file = 8

[datasets.labelled]
experiment = "sphenix"
simulation = "tracks"
events_per_shard = 8

[models.m]
{model}

[pretrain]
dataset = "labelled"
models = ["m"]
events = [8]

[pretrain.training]
events_seen = 16
batch_events = 4
learning_rate = 2e-3
walltime_minutes = 5

[finetune.hard]
dataset = "labelled"
modes = {modes}
labels = [8]

[finetune.hard.head]
{task}

[finetune.hard.training]
events_seen = 16
batch_events = 4
learning_rate = 1e-3
walltime_minutes = 5
"""


def page_of(folder: Path, package: Path, *, model: str, task: str, modes: str) -> str:
    """Run the campaign with the `package` from `folder` to its end, and return its page."""
    campaign = CAMPAIGN.format(model=model, task=task, modes=modes)
    (folder / "campaign.toml").write_text(campaign)
    words = [sys.executable, "-m", "pipeline", "run", "campaign.toml", "--site", "local", "--yes"]
    ended = subprocess.run(
        [*words, "--root", str(folder / "runs"), "--project", "m4722"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    page = (folder / "runs/added/report/index.html").read_text()
    assert ">Results</h2>" in page
    return re.sub(r"\s+", " ", page)


def copied(folder: Path) -> Path:
    """Copy what is installed of the package into `folder`, and return the folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("pipeline", "sites", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def test_a_folder_each_adds_a_family_and_a_downstream_task(tmp_path):
    package = copied(tmp_path / "copy")
    shutil.copytree(ADDITIONS / "family", package / "pipeline/families/planted")
    shutil.copytree(ADDITIONS / "task", package / "pipeline/downstream/hard")
    (tmp_path / "work").mkdir()
    page = page_of(
        tmp_path / "work",
        package,
        model='family = "planted"',
        task='task = "hard"\nabove_gev = 0.4',
        modes='["frozen"]',
    )
    assert "hard particles" in page
    assert "Hard points, accuracy" in page
    assert CAPTION in page
    assert "predicted hard" in page, "the default display"
