import numpy as np
import pytest
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.readers.sphenix_npz import read_npz, write_npz


@pytest.mark.parametrize("name", ["spacepoints_007.npz", "spacepoints.npz"])
def test_labelled_events_survive_the_round_trip(tmp_path, name):
    written = events([3, 0, 5])
    files = write_npz(tmp_path / name, written, labelled=True)
    assert [file.name.partition(".")[0].rstrip("_0123456789") for file in files] == [
        "track_ids",
        "pid_labels",
        "noise_tags",
        "spacepoints",
    ]
    found, rejected = read_npz(tmp_path / name)
    assert rejected == {}
    np.testing.assert_array_equal(found.points, written.points)
    np.testing.assert_array_equal(found.offsets, written.offsets)
    for label, values in written.per_point.items():
        np.testing.assert_array_equal(found.per_point[label], values)
        assert found.per_point[label].dtype == values.dtype


def test_unlabelled_events_have_no_labels(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    assert write_npz(path, events([3]), labelled=False) == (path,)
    assert read_npz(path)[0].labels == {}


def test_the_same_events_give_the_same_bytes(tmp_path):
    contents = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "spacepoints_000.npz"
        write_npz(path, events([3, 2]), labelled=False)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_nothing_temporary_stays(tmp_path):
    write_npz(tmp_path / "spacepoints.npz", events([3]), labelled=False)
    assert [path.name for path in tmp_path.iterdir()] == ["spacepoints.npz"]


def bad(tmp_path, message, **arrays):
    path = tmp_path / "spacepoints_000.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=message) as failure:
        read_npz(path)
    assert str(path) in str(failure.value)


def test_sizes_that_do_not_sum_to_the_rows_are_refused(tmp_path):
    bad(tmp_path, "sizes sum to 6, but there are 5", data=np.ones((5, 4)), size=np.array([2, 4]))


def test_a_missing_array_is_named(tmp_path):
    bad(tmp_path, "no array 'size', only data", data=np.ones((5, 4)))


def test_a_wrong_shape_is_refused(tmp_path):
    bad(tmp_path, r"data has shape \(5, 3\)", data=np.ones((5, 3)), size=np.array([5]))


def test_sizes_must_be_whole_numbers(tmp_path):
    bad(tmp_path, "size is float64", data=np.ones((5, 4)), size=np.array([5.0]))


def test_nan_is_refused(tmp_path):
    bad(tmp_path, "NaN", data=np.full((5, 4), np.nan), size=np.array([5]))


def test_negative_energy_is_refused(tmp_path):
    bad(tmp_path, "negative energy", data=-np.ones((5, 4)), size=np.array([5]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([300]), labelled=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadInput, match="not a whole npz file"):
        read_npz(path)


def test_damage_inside_the_file_is_noticed(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([300]), labelled=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match="not a whole npz file"):
        read_npz(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("pid_labels", np.array([211, 321, 11]), "not PDG codes"),
        ("track_ids", np.array([0.5, 1, 2]), "whole 32-bit ids"),
        ("noise_tags", np.array([0, 1, 2]), "expected 0 or 1"),
        ("track_ids", np.array([1, 2]), "label track_id has shape"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, name, values, message):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([3]), labelled=False)
    np.savez(tmp_path / f"{name}_000.npz", data=values)
    with pytest.raises(BadInput, match=message):
        read_npz(path)
