"""A link leaves a record of its life, whatever ends it."""

import os
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from pipeline import records
from pipeline.records import LinkRecord
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.link.record import LinkRecorder, program_started


def record(folder, number):
    """What is on disk of a link."""
    return records.read(folder.links / f"{number:03d}.json", LinkRecord)


def test_a_link_tells_when_it_began_worked_saved_and_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("COSMOTRON_LINK", "tiny.pretrain.m.1-ab")
    monkeypatch.setenv("COSMOTRON_STARTED", str(time.time() - 1e6))
    monkeypatch.setenv("COSMOTRON_JOB_ID", "77")
    folder = TaskFolder(tmp_path)
    with LinkRecorder(folder, World()) as link:
        assert not folder.links.exists()
        link.step(4, 0.25)
        link.step(4, 0.25)
        with link.saving():
            time.sleep(0.01)
    told = record(folder, 1)
    assert (told.key, told.job_id) == ("tiny.pretrain.m.1-ab", "77")
    assert (told.steps, told.events, told.outcome) == (2, 8, "finished")
    assert told.began < told.started < told.first_step < told.last_step < told.ended
    assert told.started - told.began > 1e5
    assert told.saving_seconds > 0.01


def test_a_killed_link_has_told_what_it_did_until_its_last_checkpoint(tmp_path):
    folder = TaskFolder(tmp_path)
    link = LinkRecorder(folder, World())
    link.step(4, 0.25)
    assert (record(folder, 1).steps, record(folder, 1).outcome) == (1, "")
    link.step(4, 0.25)
    with link.saving():
        pass
    link.step(4, 0.25)
    assert (record(folder, 1).steps, record(folder, 1).ended) == (2, None)
    with LinkRecorder(folder, World()) as second:
        second.leave()
    assert record(folder, 2).outcome == "continue"


def test_a_link_that_fails_says_so(tmp_path):
    folder = TaskFolder(tmp_path)
    link = LinkRecorder(folder, World())
    with pytest.raises(FloatingPointError), link:
        raise FloatingPointError
    assert record(folder, 1).outcome == "diverged"


def test_only_the_first_process_leaves_a_record(tmp_path):
    world = World()
    world.rank = 1
    with LinkRecorder(TaskFolder(tmp_path), world) as link:
        link.step(4, 0.25)
    assert list(tmp_path.iterdir()) == []


def test_a_program_knows_when_it_was_started():
    psutil = pytest.importorskip("psutil")
    assert program_started() == pytest.approx(psutil.Process(os.getpid()).create_time(), abs=1)
