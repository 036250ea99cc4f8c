import json

import numpy as np
import pytest
from made_events import events, stage_task

from pipeline.data import shard
from pipeline.data.errors import BadInput
from pipeline.data.program import run
from pipeline.data.store.shard import encode, read_arrays, write_shard
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.stage import STAGE
from pipeline.data.store import Store


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


def write(folder, made_from="a", **changes):
    asked = {"attributes": {"schema": "x"}, "chunk_points": 64, "codec": "zstd", **changes}
    return write_shard(folder, arrays(), made_from=made_from, **asked)


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_a_shard_holds_what_was_written_with_its_types(tmp_path, codec):
    record = write(tmp_path / "train" / "00000-000", codec=codec)
    assert (record.split, record.name, record.events) == ("train", "00000-000", 2)
    found = read_arrays(tmp_path / "train" / "00000-000", tuple(arrays()))
    for name, values in arrays().items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
        assert record.arrays[name] == values.dtype.name


def test_the_points_of_a_shard_are_one_file(tmp_path):
    record = write(tmp_path / "train" / "00000-000")
    assert [name for name in record.files if name.startswith("points/c")] == ["points/c/0/0"]


def test_the_same_arrays_give_the_same_bytes():
    assert encode(arrays(), {}, 64, "zstd") == encode(arrays(), {}, 64, "zstd")


def test_a_shard_that_verifies_is_not_written_again(tmp_path):
    folder = tmp_path / "train" / "00000-000"
    first = write(folder)
    age = (folder / "shard.json").stat().st_mtime_ns
    assert write(folder) == first
    assert (folder / "shard.json").stat().st_mtime_ns == age


def test_a_damaged_or_outdated_shard_is_written_again(tmp_path):
    folder = tmp_path / "train" / "00000-000"
    first = write(folder)
    (folder / "points" / "c" / "0" / "0").write_bytes(b"damage")
    assert write(folder) == first
    age = (folder / "shard.json").stat().st_mtime_ns
    write(folder, made_from="b")
    assert (folder / "shard.json").stat().st_mtime_ns != age


def test_a_shard_that_reads_back_wrong_does_not_count(tmp_path, monkeypatch):
    wrong = {**arrays(), "points": arrays()["points"] + 1}
    monkeypatch.setattr(shard, "read_arrays", lambda *_: wrong)
    with pytest.raises(BadInput, match="points differ when read back"):
        write(tmp_path / "train" / "00000-000")
    assert list((tmp_path / "train").iterdir()) == []


@pytest.fixture
def store(tmp_path):
    paths = [tmp_path / "raw" / f"spacepoints_{number:03d}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        write_npz(path, events([20, 30, 1, 25, 40, 22], seed=number), labelled=True)
    folder, task = stage_task(tmp_path, {"train": (paths[0],), "test": (paths[1],)})
    for step in (["--begin"], ["--part", "0"], ["--part", "1"], ["--finish"]):
        assert run(STAGE, [str(folder.path), *step]) == 0
    return task.store


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
    [("schema_version", 2), ("schema_name", "other"), ("surprise", 1), ("shards", "none")],
)
def test_a_manifest_of_another_schema_is_refused(store, key, value):
    path = store / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(BadInput, match=f"manifest.json: {key}"):
        Store.open(store)


def test_a_manifest_that_is_no_json_is_refused(store):
    (store / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="JSON"):
        Store.open(store)


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
