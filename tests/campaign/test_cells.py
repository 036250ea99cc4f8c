"""Models of one grid with sizes, devices and walltimes of their own, and files that are counted."""

import tomllib
from pathlib import Path

import pytest

from pipeline.campaign import Campaign
from pipeline.catalog import DeclarationError, parse
from pipeline.run import Run

GRID = """
name = "grid"

[datasets.points]
experiment = "sphenix"
folder = "FOLDER"
splits = { train = ["*.npz"] }
files = { train = 3 }
mean_points = 856
neighbours = 4

[models.a]
family = "fm4npp-mamba2"
width = 64
neighbours = 4

[models.b]
family = "fm4npp-mamba2"
width = 128
neighbours = 4

[pretrain]
dataset = "points"
models = ["a", "b"]
events = [100, 1000]
same_epochs = true

[pretrain.training]
events_seen = 3000
batch_events = 10
learning_rate = 1e-3
warmup_events = 300
walltime_minutes = 600

[pretrain.by_model.b]
events = [500, 2000]
training = { devices = 4, walltime_minutes = 1200, learning_rate = 5e-4 }

[finetune.tracking]
dataset = "points"
models = ["b"]
labels = [10, 100]
modes = ["full"]
same_epochs = true

[finetune.tracking.training]
events_seen = 400
batch_events = 4
learning_rate = 1e-3
walltime_minutes = 100

[probe.heldout]
dataset = "points"
models = ["a"]
"""


def grid(folder: Path, old: str = "", new: str = "") -> Campaign:
    text = GRID.replace("FOLDER", str(folder))
    assert old in text
    return parse(Campaign, tomllib.loads(text.replace(old, new, 1)))


@pytest.fixture
def tasks(tmp_path):
    found = grid(tmp_path).tasks(Run(tmp_path, "grid"), elsewhere=True)
    return {task.key: task for task in found}


def pretrained(tasks, key):
    task = tasks[f"pretrain/{key}-s1"]
    training = task.training
    return task.events, training.events_seen, training.devices, training.walltime_minutes


def test_a_model_has_sizes_and_keys_of_its_own(tasks):
    assert pretrained(tasks, "a-d1000") == (1000, 3000, 1, 600)
    assert pretrained(tasks, "b-d2000") == (2000, 3000, 4, 1200)
    assert tasks["pretrain/b-d2000-s1"].training.learning_rate == 5e-4
    assert tasks["pretrain/a-d1000-s1"].training.learning_rate == 1e-3


def test_fewer_events_are_seen_as_often_and_take_their_share(tasks):
    assert pretrained(tasks, "a-d100") == (100, 300, 1, 60)
    assert pretrained(tasks, "b-d500") == (500, 750, 4, 300)
    assert tasks["pretrain/a-d100-s1"].training.warmup_events == 30


def test_heads_and_probes_are_of_the_models_that_are_named(tasks):
    keys = sorted(key for key in tasks if key.startswith(("finetune", "probe")))
    assert keys == [
        "finetune/tracking-b-d2000-s1-full-l10-s1",
        "finetune/tracking-b-d2000-s1-full-l100-s1",
        "finetune/tracking-b-d500-s1-full-l10-s1",
        "finetune/tracking-b-d500-s1-full-l100-s1",
        "probe/heldout-a-d100-s1",
        "probe/heldout-a-d1000-s1",
    ]
    few = tasks["finetune/tracking-b-d500-s1-full-l10-s1"].training
    assert (few.events_seen, few.walltime_minutes) == (40, 10)


WRONG = [
    ("[pretrain.by_model.b]", "[pretrain.by_model.c]", "by_model: 'c' is none of models: a, b"),
    ("devices = 4", "devises = 4", "by_model.b.training: devises: Extra inputs"),
    ("devices = 4", "devices = 11", "batch_events 10 is below devices 11"),
    ("same_epochs = true", "same_epochs = true\nbranch = true", "leave same_epochs out"),
    ('models = ["b"]', 'models = ["z"]', "finetune.tracking.models: 'z' is none of: a, b"),
    ("files = { train = 3 }", "files = { test = 3 }", "files.test: no such split; splits: train"),
]


@pytest.mark.parametrize(("old", "new", "told"), WRONG)
def test_what_cannot_be_is_refused(tmp_path, old, new, told):
    with pytest.raises(DeclarationError) as caught:
        grid(tmp_path, old, new)
    assert told in str(caught.value)


def test_a_run_begins_with_all_files_that_there_are_to_be(tmp_path):
    run = Run(tmp_path / "runs", "grid")
    with pytest.raises(DeclarationError, match=r"no file matches \*\.npz"):
        grid(tmp_path).tasks(run)
    for number in range(2):
        (tmp_path / f"{number}.npz").touch()
    with pytest.raises(DeclarationError, match=r"2 of 3 files are below .* Fetch the others first"):
        grid(tmp_path).tasks(run, elsewhere=True)
    (tmp_path / "2.npz").touch()
    (stage, *_) = grid(tmp_path).tasks(run)
    assert stage.sources == {"train": tuple(f"{tmp_path}/{number}.npz" for number in range(3))}


def test_a_plan_counts_files_that_are_elsewhere(tmp_path, tasks):
    assert len(tasks["stage/points"].sources["train"]) == 3
    bare = grid(tmp_path, "files = { train = 3 }\n")
    with pytest.raises(DeclarationError, match="no file matches"):
        bare.tasks(Run(tmp_path, "grid"), elsewhere=True)
