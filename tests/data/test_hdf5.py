"""Parts of an HDF5 file that nobody wrote are told, not read as zeros."""

import h5py
import numpy as np
import pytest

from pipeline.data.errors import BadInput
from pipeline.data.experiments.omnilearned import OMNILEARNED
from pipeline.data.readers import opened
from pipeline.data.readers.hdf5 import check_whole, checksum_of, datasets

VALUES = np.arange(40, dtype=np.float32).reshape(10, 4)


def made(tmp_path, write):
    """Write a file by `write`, and check its dataset `x`."""
    path = tmp_path / "made.h5"
    with h5py.File(path, "w") as file:
        write(file)
    with h5py.File(path) as file:
        check_whole(path, file["x"])


def unknown_filter(file):
    packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    packed.set_chunk((5, 4))
    packed.set_filter(31999, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple(VALUES.shape)
    made = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, packed)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, VALUES)


def some_chunks(file):
    file.create_dataset("x", (10, 4), "f4", chunks=(5, 4))[:5] = VALUES[:5]


def external(file):
    file.create_dataset("x", (10, 4), "f4", external=[("values.bin", 0, 160)])


def virtual(file, *, rows=10, name="x", write=True):
    folder = file.filename.rpartition("/")[0]
    if write:
        with h5py.File(f"{folder}/part.h5", "w") as part:
            part["x"] = VALUES
    layout = h5py.VirtualLayout((10, 4), "f4")
    layout[:rows] = h5py.VirtualSource("part.h5", name, (rows, 4))
    file.create_virtual_dataset("x", layout)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.create_dataset("x", data=VALUES),
        lambda file: file.create_dataset("x", data=VALUES, chunks=(3, 4), compression="gzip"),
        lambda file: file.create_dataset("x", (0, 4), "f4"),
        virtual,
    ],
    ids=["contiguous", "chunks", "empty", "virtual"],
)
def test_what_was_written_is_accepted(tmp_path, write):
    made(tmp_path, write)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: file.create_dataset("x", (10, 4), "f4"), r"x has 0 of 160 bytes"),
        (some_chunks, r"has 1 of 2 chunks, the others were never written"),
        (external, r"x lies outside the file, in values.bin; HDF5 would read zeros"),
        (lambda file: virtual(file, write=False), r"part.h5, which is not there"),
        (lambda file: virtual(file, name="y"), r"y of .*part.h5, which has no such dataset"),
        (lambda file: virtual(file, rows=8), r"has sources for 32 of 40 values"),
        (unknown_filter, r"HDF5 filter 31999 .* not installed here. Install it"),
    ],
    ids=["nothing", "chunks", "external", "no file", "no dataset", "a gap", "filter"],
)
def test_what_hdf5_would_fill_with_zeros_is_told(tmp_path, write, message):
    with pytest.raises(BadInput, match=message):
        made(tmp_path, write)


def test_labels_that_were_never_written_are_no_class_0(tmp_path):
    path = tmp_path / "unwritten_labels.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.ones((20, 10, 4), np.float32))
        file.create_dataset("pid", (20,), "i4")
    with (
        pytest.raises(BadInput, match=r"pid has 0 of 80 bytes.*HDF5 would read zeros"),
        opened(path, OMNILEARNED),
    ):
        pass


@pytest.mark.parametrize(
    ("pack", "checksum"),
    [
        ({"compression": "gzip"}, "Adler-32 of chunks"),
        ({"fletcher32": True}, "Fletcher-32 of chunks"),
        ({"compression": "lzf"}, ""),
        ({}, ""),
    ],
)
def test_what_tells_a_wrong_bit_is_known(tmp_path, pack, checksum):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        packed = file.create_dataset("x", data=VALUES, chunks=(5, 4), **pack)
        assert checksum_of([packed]) == checksum
        assert not checksum_of([packed, file.create_dataset("y", data=VALUES)])


def test_a_misspelt_dataset_is_not_taken_for_one_that_is_absent(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["pad"], file["weights"] = VALUES, VALUES, VALUES
        assert set(datasets(tmp_path / "a.h5", file, ("data",))) == {"data", "pad", "weights"}
        with pytest.raises(BadInput, match=r"a.h5: dataset 'pad', but no 'pid'. A name"):
            datasets(tmp_path / "a.h5", file, ("data", "pid"))
        file.create_group("pid")
        with pytest.raises(BadInput, match=r"a.h5: pid is no dataset"):
            datasets(tmp_path / "a.h5", file, ("data", "pid"))


def test_a_name_that_leads_nowhere_is_not_taken_for_one_that_is_absent(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pid"] = h5py.SoftLink("/elsewhere")
        with pytest.raises(KeyError):
            datasets(tmp_path / "a.h5", file, ("pid",))
