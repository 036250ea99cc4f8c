"""A small campaign on files of its own: as it is declared, changed, and as if it were finished."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from whole_campaign import SMALL_PRETRAINING

from pipeline.campaign import Campaign, StageTask, Task, declare, load_campaign
from pipeline.data.program import run as run_program
from pipeline.data.stage import STAGE
from pipeline.planning import changes
from pipeline.run import Run

CAMPAIGN = """
name = "c"

[datasets.ours]
experiment = "sphenix"
neighbours = 3
bins = [2, 2, 3]
folder = "{folder}"
splits = {{ train = ["0*.npz", "1*.npz", "spacepoints*.npz"], test = ["spacepoints_000.npz"] }}

[finetune.tracking]
dataset = "ours"
modes = ["full", "scratch"]
labels = [2]
test_split = "test"

[finetune.tracking.head]
queries = 8
width = 32
layers = 1
heads = 2

[finetune.tracking.training]
events_seen = 4
batch_events = 2
learning_rate = 1e-3
walltime_minutes = 5
"""
STAGED, PRETRAINED = "stage/ours", "pretrain/m-d4-s1"
FULL, SCRATCH = (f"finetune/tracking-{model}-l2-s1" for model in ("m-d4-s1-full", "m-scratch"))


def campaign(
    path: Path, raw: Path, change: Callable[[dict[str, Any]], object] = lambda _: None
) -> Campaign:
    """The campaign on the files in `raw`, with a `change` of its content."""
    content = tomllib.loads(CAMPAIGN.format(folder=raw) + SMALL_PRETRAINING)
    content["datasets"]["ours"]["splits"] = {"train": ["*_00[1-9].npz"], "test": ["*_000.npz"]}
    change(content)
    file = path / "c.toml"
    file.write_text(tomli_w.dumps(content))
    return load_campaign(str(file))


def finish(tasks: list[Task], run: Run) -> None:
    """Stage the dataset in this process, and mark the other tasks as done."""
    for task in tasks:
        folder = run.task(task.key)
        declare(folder, task)
        if isinstance(task, StageTask):
            parts = (f"--part {number}" for number in range(len(task.files)))
            for step in ("--begin", *parts, "--finish"):
                assert run_program(STAGE, [str(folder.path), *step.split()]) == 0
        else:
            folder.done.touch()


def meanings(tasks: list[Task], run: Run) -> dict[str, str]:
    return {key: each.meaning for key, each in changes.compare(tasks, run).items()}
