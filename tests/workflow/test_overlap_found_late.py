"""A run finds, when its data is staged, that a model would be tested on what it is trained on."""

import shutil

import pytest
from staged_alone import ended, words_of, write_sources
from whole_campaign import SMALL_PRETRAINING, command

from pipeline.records import Probed, read
from pipeline.run import Run

pytest.importorskip("deepspeed")

CAMPAIGN = """
name = "late"
{allow}

[datasets.theirs]
experiment = "sphenix"
folder = "{folder}/theirs"
splits = {{ train = ["a.npz"], test = ["b.npz"] }}
neighbours = 3
bins = [2, 2, 3]

[datasets.ours]
experiment = "sphenix"
folder = "{folder}/raw"
splits = {{ train = ["*.npz"] }}
neighbours = 3
bins_from = "theirs"

[probe.seen]
dataset = "theirs"
"""


@pytest.mark.slow
def test_a_copy_stops_the_training_and_can_be_allowed(tmp_path):
    raw = write_sources(tmp_path / "raw", 3)
    (tmp_path / "theirs").mkdir()
    shutil.move(raw[2], tmp_path / "theirs" / "a.npz")
    shutil.copy(raw[1], tmp_path / "theirs" / "b.npz")
    file, run = tmp_path / "late.toml", Run(tmp_path / "runs", "late")
    words = command(run.root, campaign=file)
    file.write_text(CAMPAIGN.format(folder=tmp_path, allow="") + SMALL_PRETRAINING)
    told = ended(words)
    assert told.returncode == 1
    assert "failed pretrain/m-d4-s1: Models are tested on events that they are" in words_of(told)
    assert (
        "7 of 7 events of theirs, split 'test', are among those that pretrain/m-d4-s1 was trained "
        f"on (ours, split 'train'), in {tmp_path}/theirs/b.npz; tested by probe/seen-m-d4-s1"
    ) in words_of(told)
    assert not list(run.task("pretrain/m-d4-s1").links.glob("*"))
    again = ended(words)
    assert again.returncode == 2
    assert "Models are tested on events that they are trained on:" in words_of(again)
    file.write_text(
        CAMPAIGN.format(folder=tmp_path, allow="allow_overlap = true") + SMALL_PRETRAINING
    )
    told = ended(words)
    assert told.returncode == 0, words_of(told)
    (found,) = read(run.task("probe/seen-m-d4-s1").result, Probed).overlap
    assert (found.events, found.of) == (7, 7)
    assert "Not every test is on unseen events." in run.page.read_text()
