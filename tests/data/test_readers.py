import os
from pathlib import Path

import numpy as np
import pytest
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.experiments import EXPERIMENTS, experiment
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.readers import opened, suffix_of
from pipeline.data.readers.sphenix_npz import write_npz

NAMES = [
    pytest.param(kind, f"file{suffix}", id=f"{kind.name}{suffix}")
    for kind in map(experiment, EXPERIMENTS)
    for suffix in kind.readers
]


def refused(path, kind, message):
    """Check that `path` is refused with one line that names it."""
    with pytest.raises(BadInput, match=message) as failure, opened(path, kind):
        pass
    assert path.name in str(failure.value)
    assert "\n" not in str(failure.value)


def test_an_unknown_ending_names_the_known_ones():
    refused(Path("x.txt"), SPHENIX, r"x.txt: no reader of sphenix takes this file; known .*\.npz")


def test_the_longest_ending_decides():
    assert suffix_of(Path("spacepoints.npz"), SPHENIX) == ".npz"


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_missing_file_is_refused(tmp_path, kind, name):
    refused(tmp_path / name, kind, r"cannot be read.*No such file")


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_folder_is_refused(tmp_path, kind, name):
    (tmp_path / name).mkdir()
    refused(tmp_path / name, kind, r"cannot be read.*Is a directory")


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_an_empty_file_is_refused(tmp_path, kind, name):
    (tmp_path / name).touch()
    refused(tmp_path / name, kind, "the file is empty")


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_file_of_something_else_is_refused(tmp_path, kind, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(tmp_path / name, kind, str(tmp_path / name))


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_file_without_permission_is_refused(tmp_path, kind, name, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"x")
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    refused(path, kind, r"Permission denied.*Check the path and its permissions")


def test_a_file_without_events_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.zeros((0, 4)), size=np.zeros(0, int))
    refused(tmp_path / "x.npz", SPHENIX, "holds no events")


def test_empty_events_are_kept(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([0, 0]), labelled=False)
    with opened(path, SPHENIX) as entries:
        found, rejected = entries.read(0, entries.count)
    assert found.sizes.tolist() == [0, 0]
    assert rejected == {}


def test_an_unknown_experiment_names_the_nearest():
    with pytest.raises(BadInput, match=r"experiment 'sphenyx': unknown. Did you mean 'sphenix'"):
        experiment("sphenyx")


def test_the_files_of_a_set_are_known():
    assert SPHENIX.companions("raw/spacepoints_001.npz") == (
        "track_ids_001.npz",
        "pid_labels_001.npz",
        "noise_tags_001.npz",
    )
    assert SPHENIX.companions("a.root") == SPHENIX.companions("a.npz") == ()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_whole(name):
    kind = experiment(name)
    columns = [column.name for column in kind.columns]
    assert kind.name == name
    assert len(set(columns)) == len(columns)
    assert all(column.scale > 0 and column.unit and column.provenance for column in kind.columns)
    assert set(kind.axes or ()) <= set(columns)
    assert all(callable(kind.opener(suffix)) for suffix in kind.readers)
