import os
from pathlib import Path

import numpy as np
import pytest
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.readers import READERS, files, read
from pipeline.data.readers.sphenix_npz import write_npz


def test_an_unknown_suffix_names_the_known_ones():
    with pytest.raises(BadInput, match=r"x.csv: no reader for '.csv' files; known: .npz, .root"):
        read(Path("x.csv"))


@pytest.mark.parametrize("suffix", READERS)
def test_a_missing_file_is_refused(tmp_path, suffix):
    with pytest.raises(BadInput, match=r"cannot be read.*No such file"):
        read(tmp_path / f"none{suffix}")


@pytest.mark.parametrize("suffix", READERS)
def test_an_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"empty{suffix}"
    path.touch()
    with pytest.raises(BadInput, match="the file is empty"):
        read(path)


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_of_something_else_is_refused(tmp_path, suffix):
    path = tmp_path / f"other{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(BadInput, match="not a whole"):
        read(path)


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_without_permission_is_refused(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"secret{suffix}"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadInput, match=r"Permission denied.*Check the path and its permissions"):
        read(path)


def test_a_file_that_leaves_no_event_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.zeros((0, 4)), size=np.zeros(0, int))
    with pytest.raises(BadInput, match="no event is left"):
        read(tmp_path / "x.npz")


def test_the_files_of_a_set_are_known(tmp_path):
    path = tmp_path / "spacepoints_001.npz"
    write_npz(path, events([2]), labelled=True)
    names = [file.name for file in files(path)]
    assert names[0] == "spacepoints_001.npz"
    assert len(names) == 4
    assert files(tmp_path / "a.root") == (tmp_path / "a.root",)
    assert files(tmp_path / "a.npz") == (tmp_path / "a.npz",)
