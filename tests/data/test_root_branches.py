import sys
import zlib

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.errors import BadInput
from pipeline.data.readers import root_files
from pipeline.data.readers.root_branches import Branch, stacked, tree_of
from pipeline.data.readers.root_files import opened_tree, use_isal

KINDS = ("float32", "float64", "int8", "int16", "int32", "uint32", "int64", "uint64")
SIZES = [2, 0, 3, 1]


def write(path, columns, basket=100):
    """Write ragged `columns` as TTree `T`, `basket` entries in each basket."""
    count = len(next(iter(columns.values())))
    with uproot.recreate(path) as file:
        tree = file.mktree("T", {name: each.type.content for name, each in columns.items()})
        for start in range(0, count, basket):
            tree.extend({name: each[start : start + basket] for name, each in columns.items()})
    return path


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    basket=st.integers(1, 12),
    step=st.integers(1, 12),
    kind=st.sampled_from(KINDS),
)
def test_numbers_of_every_width_come_out_as_they_went_in(
    tmp_path_factory, sizes, basket, step, kind
):
    rng = np.random.default_rng(len(sizes))
    size = int(np.sum(sizes)) * np.dtype(kind).itemsize
    values = rng.integers(0, 256, size, np.uint8).view(kind)
    columns = {"a": ak.unflatten(values, sizes)}
    path = write(tmp_path_factory.mktemp("root") / "a.root", columns, basket)
    found = []
    with opened_tree(path, "T", "us") as opened:
        tree = tree_of(path, opened, "us", ragged=("a",))
        for start in range(0, tree.entries, step):
            found += tree.columns(("a",), start, min(start + step, tree.entries))
    assert np.concatenate([each.sizes for each in found]).tolist() == sizes
    np.testing.assert_array_equal(
        np.concatenate([each.values() for each in found]), values, strict=True
    )


@pytest.mark.parametrize("count", [4.0, 4.5])
def test_a_number_of_entries_may_be_whole_in_floating_point(tmp_path, monkeypatch, count):
    path = write(tmp_path / "a.root", {"a": ak.unflatten(np.arange(6.0), SIZES)})
    with opened_tree(path, "T", "us") as opened:
        monkeypatch.setattr(type(opened), "num_entries", count)
        if count == 4:
            tree = tree_of(path, opened, "us", ragged=("a",))
            assert type(tree.entries) is int
            assert [*range(tree.entries)] == [0, 1, 2, 3]
            return
        with pytest.raises(BadInput, match=r"number of entries holds 4.5, which int64 cannot"):
            tree_of(path, opened, "us", ragged=("a",))


def test_branches_of_several_types_become_one_matrix(tmp_path):
    flat = {name: np.arange(6).astype(kind) for name, kind in {"a": "f8", "b": "i4"}.items()}
    columns = {name: ak.unflatten(each, SIZES) for name, each in flat.items()}
    path = write(tmp_path / "a.root", columns, 2)
    with opened_tree(path, "T", "us") as opened:
        tree = tree_of(path, opened, "us", ragged=("a", "b"))
        matrix, sizes = stacked(tree.columns(("a", "b"), 0, 4), 2)
    expected = np.column_stack([flat["a"], flat["b"]]).astype(np.float32)
    np.testing.assert_array_equal(matrix, expected, strict=True)
    assert sizes.tolist() == SIZES


@pytest.mark.parametrize("counter", [[2, 0, 3, 1], [2, 0, 3, 2], None], ids=str)
def test_a_basket_without_offsets_is_cut_by_its_counter(tmp_path, counter):
    """ROOT may leave offsets out; uproot cannot write such a file."""
    path = write(tmp_path / "a.root", {"a": ak.unflatten(np.arange(6.0), SIZES)})

    class Basket:
        data = np.arange(6).astype(">f8").view(np.uint8)
        byte_offsets = None

    class Counter:
        def array(self, **_):
            return np.array(counter)

    class Without:
        count_branch = Counter() if counter else None

        def basket(self, _):
            return Basket

    with uproot.open(path) as file:
        branch = Branch(path, file["T"]["a"], ragged=True)
    branch._branch = Without()
    if counter == SIZES:
        (part,) = branch.parts(0, 4)
        assert branch.sizes([part]).tolist() == SIZES
    else:
        with pytest.raises(BadInput, match=r"basket 0 of branch a does not hold the 4 entries"):
            list(branch.parts(0, 4))


class Unpacker:
    """What uproot may become: it knows only zlib."""

    library = "zlib"

    def decompress(self, data, _):
        if self.library != "zlib":
            raise ValueError(self.library)
        return zlib.decompress(data)


def test_isal_is_used_where_it_can_be():
    isal = pytest.importorskip("isal.isal_zlib")
    assert use_isal() == (isal.error,)
    assert uproot.compression._decompress_ZLIB.library == "isal"
    assert isal.error in root_files.DAMAGED


@pytest.mark.parametrize("unpacker", [None, object(), Unpacker()], ids=["gone", "other", "refuses"])
def test_zlib_stays_where_uproot_has_changed(monkeypatch, unpacker):
    monkeypatch.setattr(uproot.compression, "_decompress_ZLIB", unpacker)
    assert use_isal() == ()
    assert getattr(unpacker, "library", "zlib") == "zlib"


def test_zlib_stays_without_isal(monkeypatch, tmp_path):
    unpacker = type(uproot.compression._decompress_ZLIB)()
    monkeypatch.setattr(uproot.compression, "_decompress_ZLIB", unpacker)
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    assert use_isal() == ()
    path = write(tmp_path / "a.root", {"a": ak.unflatten(np.zeros(6000), [6000])})
    with opened_tree(path, "T", "us") as opened:
        (column,) = tree_of(path, opened, "us", ragged=("a",)).columns(("a",), 0, 1)
    assert column.values().tolist() == [0.0] * 6000


@pytest.mark.parametrize(
    ("compression", "checksum"),
    [
        (uproot.ZLIB(1), "Adler-32 of compressed baskets"),
        (uproot.LZMA(1), "CRC-32 of compressed baskets"),
        (uproot.LZ4(1), "XXH64 of compressed baskets"),
        (uproot.ZSTD(1), ""),
        (None, ""),
    ],
)
def test_what_tells_a_wrong_bit_is_known(tmp_path, compression, checksum):
    path = tmp_path / "a.root"
    with uproot.recreate(path, compression=compression) as file:
        file.mktree("T", {"a": "var * float64"}).extend({"a": ak.unflatten(np.arange(6.0), SIZES)})
    with opened_tree(path, "T", "us") as opened:
        assert tree_of(path, opened, "us", ragged=("a",)).checksum == checksum
