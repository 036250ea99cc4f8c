import tracemalloc
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.readers import opened
from pipeline.data.readers.sphenix_npz import open_npz, write_npz


def read(path, *ranges):
    """Return the events of `path`, all or those of `ranges`; none is ever rejected."""
    with opened(path, SPHENIX) as entries:
        parts = [entries.read(*each) for each in ranges or [(0, entries.count)]]
    assert all(rejected == {} for _, rejected in parts)
    return concatenate([found for found, _ in parts])


def assert_same(found, written):
    """Assert that `found` is `written`, type for type."""
    np.testing.assert_array_equal(found.points, written.points)
    np.testing.assert_array_equal(found.offsets, written.offsets)
    np.testing.assert_array_equal(found.event_id, written.event_id)
    assert found.points.dtype == np.float32
    assert set(found.per_point) == set(written.per_point)
    for label, values in written.per_point.items():
        np.testing.assert_array_equal(found.per_point[label], values)
        assert found.per_point[label].dtype == values.dtype


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("spacepoints_012.npz", "track_ids_012.npz"),
        ("spacepoints.npz", "track_ids.npz"),
        ("train_spacepoints_003.npz", "train_track_ids_003.npz"),
        ("spacepoints_test.npz", "track_ids_test.npz"),
    ],
)
def test_labelled_events_survive_the_round_trip(tmp_path, name, truth):
    written = events([3, 0, 5])
    files = write_npz(tmp_path / name, written, labelled=True)
    assert files[0].name == truth
    assert files[-1].name == name  # where the spacepoints are, the set is whole
    assert len(files) == 4
    assert_same(read(tmp_path / name), written)


@pytest.mark.parametrize("number", [0, 99])
def test_unlabelled_events_have_no_labels(tmp_path, number):
    path = tmp_path / f"spacepoints_{number:03d}.npz"
    written = events([3, 0], labelled=False)
    assert write_npz(path, written, labelled=False) == (path,)
    assert_same(read(path), written)


def test_labels_of_another_number_are_not_taken(tmp_path):
    write_npz(tmp_path / "spacepoints_001.npz", events([3]), labelled=True)
    write_npz(tmp_path / "spacepoints_002.npz", events([3]), labelled=False)
    assert read(tmp_path / "spacepoints_002.npz").per_point == {}


def test_labels_that_are_there_are_read_without_the_others(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    files = write_npz(path, events([3]), labelled=True)
    files[0].unlink()
    assert set(read(path).per_point) == {"pid", "noise"}


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    seed=st.integers(0, 99),
)
def test_any_rising_ranges_give_what_was_written(tmp_path_factory, sizes, cuts, seed):
    path = tmp_path_factory.mktemp("npz") / "spacepoints_000.npz"
    written = events(sizes, seed=seed)
    write_npz(path, written, labelled=True)
    steps = sorted({*(min(cut, len(sizes)) for cut in cuts), len(sizes)})
    found = read(path, *pairwise(steps), (steps[-1], len(sizes)))
    assert_same(found, written.slice(steps[0], len(sizes)))


def test_a_range_can_be_read_again(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    written = events([4, 2, 7, 1])
    write_npz(path, written, labelled=True)
    with open_npz(path) as entries:
        for start, stop in [(2, 4), (0, 2), (1, 3)]:
            assert_same(entries.read(start, stop)[0], written.slice(start, stop))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("compression", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
@pytest.mark.filterwarnings("ignore:Stored array in format")
def test_all_versions_and_compressions_of_numpy_arrays_are_read(tmp_path, version, compression):
    path, written = tmp_path / "spacepoints_000.npz", events([4, 9], labelled=False)
    with zipfile.ZipFile(path, "w", getattr(zipfile, compression)) as archive:
        for name, values in {"data": written.points, "size": written.sizes}.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, values, version=version)
    assert_same(read(path), written)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2", "<i4"])
def test_other_types_of_numbers_become_float32(tmp_path, kind):
    path, written = tmp_path / "spacepoints_000.npz", np.arange(12).reshape(3, 4)
    np.savez(path, data=written.astype(kind), size=np.array([3], ">i2"))
    found = read(path)
    assert found.points.dtype == np.float32
    np.testing.assert_array_equal(found.points, written)


def test_memory_grows_with_the_range_not_with_the_file(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    count, each = 2000, 1900
    data = np.zeros((count * each, 4), np.float32)
    data[:, 1] = np.arange(len(data)) % 97
    np.savez_compressed(path, data=data, size=np.full(count, each))
    expected = data[-each:].copy()
    assert data.nbytes > 60e6
    del data
    tracemalloc.start()
    try:
        with opened(path, SPHENIX) as entries:
            entries.read(0, 100)
            entries.read(100, 200)
            found, _ = entries.read(count - 1, count)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.points, expected)
    assert peak < 100 * each * 16 + 15e6


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


POINTS = np.ones((5, 4))
ALL = np.array([5])


@pytest.mark.parametrize(
    ("message", "arrays"),
    [
        ("sizes sum to 6, but there are 5", {"data": POINTS, "size": np.array([2, 4])}),
        ("sizes sum to 5, but there are 6", {"data": np.ones((6, 4)), "size": ALL}),
        ("there are 5 points", {"data": POINTS, "size": np.array([2**63 + 5, 2**63], "u8")}),
        ("no array 'size', only data", {"data": POINTS}),
        ("no array 'data', only size", {"size": ALL}),
        (r"data has shape \(5, 3\)", {"data": np.ones((5, 3)), "size": ALL}),
        (r"data has shape \(20,\)", {"data": np.ones(20), "size": ALL}),
        ("size is float64", {"data": POINTS, "size": np.array([5.0])}),
        (r"size is int64 \(1, 1\)", {"data": POINTS, "size": ALL[None]}),
        (r"size is int64 \(2,\)", {"data": POINTS, "size": np.array([6, -1])}),
        (r"size is int64 \(\)", {"data": POINTS, "size": np.array(5)}),
        ("NaN", {"data": np.full((5, 4), np.nan), "size": ALL}),
        ("holds 1e.300, which is beyond float32", {"data": np.full((5, 4), 1e300), "size": ALL}),
        ("5 of 5 points have negative energy", {"data": -POINTS, "size": ALL}),
        ("stored by columns", {"data": np.asfortranarray(POINTS), "size": ALL}),
        ("holds object", {"data": np.full((5, 4), None), "size": ALL}),
        ("holds <U1", {"data": np.full((5, 4), "1"), "size": ALL}),
        ("holds complex128", {"data": POINTS * 1j, "size": ALL}),
        ("holds no events", {"data": np.zeros((0, 4)), "size": np.zeros(0, int)}),
    ],
)
def test_what_is_not_of_the_release_is_refused(tmp_path, message, arrays):
    if arrays["size" if "size" in arrays else "data"].dtype == np.uint64:
        message = "size is uint64|" + message
    path = tmp_path / "spacepoints_000.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=message) as failure:
        read(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([300]), labelled=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadInput, match="not a whole npz file"):
        read(path)


@settings(deadline=None, max_examples=25)
@given(place=st.integers(0), flip=st.integers(1, 255), stored=st.booleans())
def test_a_changed_byte_is_refused_or_changes_no_value(tmp_path_factory, place, flip, stored):
    path = tmp_path_factory.mktemp("npz") / "spacepoints_000.npz"
    written = events([30, 7], labelled=False)
    save = np.savez if stored else np.savez_compressed
    save(path, data=written.points, size=written.sizes)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= flip
    path.write_bytes(bytes(content))
    try:
        assert_same(read(path), written)
    except BadInput as error:
        assert "spacepoints_000.npz" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content + b"more", "rows follow the last"),
        (lambda content: content[:-8], "ends before row 3"),
    ],
    ids=["longer", "shorter"],
)
def test_an_array_of_another_length_than_it_says_is_refused(tmp_path, change, told):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([3]), labelled=False)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, change(content) if "data" in name else content)
    with pytest.raises(BadInput, match=rf"not a whole npz file \({told}\)"):
        read(path)


@pytest.mark.parametrize(("place", "value"), [(8, 97), (6, 1)], ids=["compression", "encryption"])
def test_what_python_cannot_unpack_is_refused(tmp_path, place, value):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([3]), labelled=False)
    content = bytearray(path.read_bytes())
    for signature, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        begin = content.find(signature)
        while begin >= 0:
            content[begin + place + shift] = value
            begin = content.find(signature, begin + 4)
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match="not a whole npz file"):
        read(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("pid_labels", np.array([211, 321, 11]), "not PDG codes"),
        ("pid_labels", np.array([1, 2, -1]), "classes 0 to 4"),
        ("track_ids", np.array([0.5, 1, 2]), "whole 32-bit ids"),
        ("track_ids", np.array([np.nan, 1, 2]), "whole 32-bit ids"),
        ("track_ids", np.array([2**31, 1, 2]), "whole 32-bit ids"),
        ("noise_tags", np.array([0, 1, 2]), "expected 0 or 1"),
        ("track_ids", np.array([1, 2]), r"data has shape \(2,\); expected \(3,\), one per point"),
        ("track_ids", np.ones((3, 2)), r"data has shape \(3, 2\)"),
        ("track_ids", np.array(["a", "b", "c"]), "holds <U1"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, name, values, message):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([3]), labelled=False)
    np.savez(tmp_path / f"{name}_000.npz", data=values)
    with pytest.raises(BadInput, match=message) as failure:
        read(path)
    assert f"{name}_000.npz" in str(failure.value)


def test_a_damaged_label_file_is_named(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([3]), labelled=True)
    (tmp_path / "pid_labels_000.npz").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"pid_labels_000.npz: not a whole npz file"):
        read(path)


def test_labels_may_be_a_column(tmp_path):
    path = tmp_path / "spacepoints_000.npz"
    write_npz(path, events([3]), labelled=False)
    np.savez(tmp_path / "track_ids_000.npz", data=np.array([[1], [2], [3]]))
    assert read(path).per_point["track_id"].tolist() == [1, 2, 3]
