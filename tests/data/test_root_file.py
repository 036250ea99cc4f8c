"""ROOT files of a simulation: the same bytes at any time."""

import time

import numpy as np
import pytest
import uproot

from pipeline.data.simulation.root_file import recreated

VALUES = np.arange(100, dtype=np.float32)


def write(path, values=VALUES):
    with recreated(path) as file:
        file.mktree("T", {"x": values.dtype}).extend({"x": values})
    return path.read_bytes()


def test_the_same_content_is_the_same_bytes_in_another_second(tmp_path):
    first = write(tmp_path / "first.root")
    time.sleep(1.1)  # ROOT's clock has seconds
    assert write(tmp_path / "second.root") == first
    assert write(tmp_path / "third.root", VALUES + 1) != first
    with uproot.open(tmp_path / "first.root") as file:
        np.testing.assert_array_equal(file["T/x"].array(library="np"), VALUES)


def test_uproot_tells_the_time_again_afterwards(tmp_path):
    encode = uproot._util.datetime_to_code
    with pytest.raises(ZeroDivisionError), recreated(tmp_path / "x.root"):
        1 / 0  # noqa: B018
    assert uproot._util.datetime_to_code is encode
    assert not list(tmp_path.iterdir())
