import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_events import events
from made_events import store as staged

from pipeline.data.errors import BadInput
from pipeline.data.events import offsets_of
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.store import Store, read_manifest, shard
from pipeline.data.store.manifest import write_manifest
from pipeline.data.store.shard import encoded, read_arrays, write_shard


def arrays(count=300):
    rng = np.random.default_rng(1)
    return {
        "points": rng.normal(size=(count, 4)).astype(np.float32),
        "offsets": np.array([0, 100, count]),
        "event_id": np.array([7, (5 << 32) | 1]),
        "neighbours": rng.integers(-1, 99, (count, 3)).astype(np.int16),
        "track_id": rng.integers(-9, 9, count).astype(np.int32),
        "noise": np.zeros(count, bool),
    }


def write(folder, content=None, **changes):
    asked = {"attributes": {"schema": "x"}, "chunk_points": 64, "codec": "zstd", **changes}
    return write_shard(folder, content or arrays(), per_event=frozenset({"event_id"}), **asked)


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_a_shard_holds_what_was_written_with_its_types(tmp_path, codec):
    record = write(tmp_path / "train" / "00000-000", codec=codec)
    assert (record.split, record.name, record.events) == ("train", "00000-000", 2)
    found = read_arrays(tmp_path / "train" / "00000-000", tuple(arrays()))
    for name, values in arrays().items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
        assert record.arrays[name].dtype == values.dtype.name
    assert record.arrays["points"].width == 4
    assert {name: each.per for name, each in record.arrays.items() if each.per != "point"} == {
        "offsets": "boundary",
        "event_id": "event",
    }


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
@pytest.mark.parametrize(
    "pipeline", ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"]
)
def test_any_zarr_reads_our_shards(tmp_path, codec, pipeline):
    write(tmp_path / "train" / "0", codec=codec)
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        group = zarr.open_group(tmp_path / "train" / "0", mode="r")
        assert dict(group.attrs) == {"schema": "x"}
        for name, values in arrays().items():
            np.testing.assert_array_equal(group[name][:], values)
            np.testing.assert_array_equal(group[name][70:99], values[70:99])


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=9),
    dtype=st.sampled_from(["f4", "i8", "u2", "i1", "bool", "u8", "f8"]),
    width=st.integers(0, 3),
    codec=st.sampled_from(["zstd", "lz4", "none"]),
    chunk_points=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_what_goes_in_comes_out(tmp_path, sizes, dtype, width, codec, chunk_points, seed):
    rng, count = np.random.default_rng(seed), sum(sizes)
    shape = (count, width) if width else (count,)
    content = {
        "points": rng.normal(size=(count, 2)).astype("f4"),
        "offsets": offsets_of(np.array(sizes)),
        "event_id": rng.integers(0, 2**62, len(sizes)),
        "extra": (rng.random(shape) * 255).astype(dtype),
    }
    folder = tmp_path / f"{seed}-{rng.integers(2**60)}" / "train" / "0"
    write(folder, content, codec=codec, chunk_points=chunk_points)
    found = read_arrays(folder, tuple(content))
    for name, values in content.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_the_points_of_a_shard_are_one_file(tmp_path):
    record = write(tmp_path / "train" / "00000-000")
    assert [name for name in record.files if name.startswith("points/c")] == ["points/c/0/0"]


def test_the_same_arrays_give_the_same_bytes():
    once, again = (
        {name: b"".join(parts) for name, parts in encoded(arrays(), {}, 64, "zstd")} for _ in "12"
    )
    assert once == again


def test_a_shard_that_reads_back_wrong_does_not_count(tmp_path, monkeypatch):
    chunks = shard.ArrayFile.chunks

    def wrong(self, start, stop):
        for first, chunk in chunks(self, start, stop):
            yield first, chunk + (self.folder.name == "points")

    monkeypatch.setattr(shard.ArrayFile, "chunks", wrong)
    with pytest.raises(BadInput, match="points differ when read back"):
        write(tmp_path / "train" / "00000-000")
    assert list((tmp_path / "train").iterdir()) == []


@pytest.fixture
def store(tmp_path):
    paths = [tmp_path / "raw" / f"spacepoints_{number:03d}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        write_npz(path, events([20, 30, 1, 25, 40, 22], seed=number), labelled=True)
    return staged(tmp_path, {"train": (paths[0],), "test": (paths[1],)}).path


def test_a_store_knows_its_splits_shards_events_and_points(store):
    opened = Store.open(store)
    assert opened.splits == ("train", "test")
    assert [each.record.name for each in opened.shards("train")] == ["00000-000", "00000-001"]
    assert opened.events("train") == 6
    assert opened.points("test") == 138
    opened.verify()


def test_a_shard_reads_all_arrays_or_those_asked_for(store):
    first = Store.open(store).shards("train")[0]
    everything = first.read(verify=True)
    assert set(everything) == {
        *("points", "offsets", "event_id", "neighbours"),
        *("track_id", "pid", "noise"),
    }
    assert set(first.read(("points", "offsets"))) == {"points", "offsets"}
    assert everything["points"].shape == (everything["offsets"][-1], 4)


def test_an_unknown_array_names_the_known_ones(store):
    with pytest.raises(BadInput, match="no array 'pt'; this shard has event_id, neighbours"):
        Store.open(store).shards("train")[0].read(("pt",))


def test_an_unknown_split_names_the_known_ones(store):
    with pytest.raises(BadInput, match="no split 'val'; this store has train, test"):
        Store.open(store).shards("val")


def test_without_a_manifest_there_is_no_store(store):
    (store / "manifest.json").unlink()
    with pytest.raises(BadInput, match="no store here"):
        Store.open(store)


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema_version", 4), ("schema_name", "other"), ("neighbours", -1)],
)
def test_a_manifest_of_another_schema_is_refused(store, key, value):
    write_manifest(store, read_manifest(store).model_copy(update={key: value}))
    with pytest.raises(BadInput, match=f"manifest.json: {key}"):
        Store.open(store)


def test_a_changed_byte_anywhere_is_found_by_name(store):
    """One bit of each file of a store, the manifest and the bins among them."""
    rng = np.random.default_rng(0)
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    assert len(files) > 40
    for path in files:
        whole = path.read_bytes()
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(content))
        for read in (lambda: Store.open(store).verify(), lambda: read_everything(store)):
            with pytest.raises(BadInput) as error:
                read()
            found = str(error.value).partition(":")[0]
            assert path.is_relative_to(found), str(error.value)
            assert found != str(store)
        path.write_bytes(whole)
    Store.open(store).verify()


def read_everything(store):
    """Read as a loader does: without hashing the files of the arrays."""
    opened = Store.open(store)
    for split in opened.splits:
        for each in opened.shards(split):
            each.read()


def test_a_changed_file_is_found(store):
    opened = Store.open(store)
    path = opened.shards("test")[1].path / "pid" / "c" / "0"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match=r"pid/c/0: not what was written"):
        opened.verify()


def test_a_missing_file_is_found(store):
    opened = Store.open(store)
    (opened.shards("train")[0].path / "points" / "c" / "0" / "0").unlink()
    with pytest.raises(BadInput, match=r"points/c/0/0: missing"):
        opened.shards("train")[0].read(verify=True)


def test_a_damaged_shard_is_refused_even_without_hashing(store):
    first = Store.open(store).shards("train")[0]
    (first.path / "points" / "c" / "0" / "0").write_bytes(b"damage")
    with pytest.raises(BadInput, match="damaged"):
        first.read(("points",))
