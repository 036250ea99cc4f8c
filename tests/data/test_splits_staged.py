"""Events dealt to splits by a hash, and detectors' tables, as they are in staged stores."""

import numpy as np
import pytest
from made_events import events, stage_task, store
from made_pulses import batch, geometry, pulses
from staged_alone import command, ended

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.identity import base_of, numbers_from
from pipeline.data.program import run
from pipeline.data.readers.kaggle_write import write_geometry
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.splits import split_of
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.data.store.tables import TABLES, read_tables
from pipeline.outcome import Exit

FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}
SIZES = [20 + number % 7 for number in range(60)]


@pytest.fixture
def sources(tmp_path):
    paths = [tmp_path / "raw" / f"spacepoints_{number:03d}.npz" for number in range(3)]
    for number, path in enumerate(paths):
        write_npz(path, events(SIZES, seed=number), labelled=True)
    return paths


def ids_of(found):
    """Return the event ids of each split, in the order of its shards."""
    return {
        split: np.concatenate(
            [each.read(("event_id",))["event_id"] for each in found.shards(split)]
        )
        for split in found.splits
    }


def dealt(path, sources, **changes):
    asked = {"fractions": FRACTIONS, "events_per_shard": 16, "neighbours": 0}
    return store(path, {"train": sources}, **{**asked, **changes})


def test_events_are_dealt_to_disjoint_splits_that_are_complete(tmp_path, sources):
    found = dealt(tmp_path, sources)
    ids = ids_of(found)
    assert tuple(ids) == found.splits == tuple(FRACTIONS)
    assert all(len(each) for each in ids.values())
    together = np.concatenate(list(ids.values())).tolist()
    expected = [base_of(sha256(path)) + entry for path in sources for entry in range(len(SIZES))]
    assert sorted(together) == sorted(expected)
    assert found.manifest.fractions == FRACTIONS


def test_an_events_split_is_what_its_id_says(tmp_path, sources):
    for number, (split, ids) in enumerate(ids_of(dealt(tmp_path, sources)).items()):
        assert set(split_of(ids, FRACTIONS)) == {number}, split


def test_points_and_labels_go_with_their_event(tmp_path, sources):
    found = dealt(tmp_path, sources, order="file")
    for split in found.splits:
        for shard in found.shards(split):
            arrays = shard.read()
            file = shard.record.file
            entries = numbers_from(base_of(sha256(sources[file])), arrays["event_id"])
            whole = events(SIZES, seed=file).select(np.isin(np.arange(len(SIZES)), entries))
            assert np.diff(arrays["offsets"]).tolist() == whole.sizes.tolist()
            np.testing.assert_array_equal(arrays["track_id"], whole.per_point["track_id"])
            np.testing.assert_array_equal(arrays["noise"], whole.per_point["noise"])


def test_splits_do_not_depend_on_the_size_of_shards(tmp_path, sources):
    several = ids_of(dealt(tmp_path, sources, events_per_shard=7, name="several"))
    one = ids_of(dealt(tmp_path, sources, events_per_shard=1000, name="one"))
    assert {name: each.tolist() for name, each in several.items()} == {
        name: each.tolist() for name, each in one.items()
    }


@pytest.mark.parametrize("workers", [1, 3])
def test_splits_do_not_depend_on_the_number_of_workers(tmp_path, sources, workers):
    text = ",".join(f"{name}={value}" for name, value in FRACTIONS.items())
    path = tmp_path / "command.zarr"
    told = ended([*command(path, *sources), "--fractions", text, "--workers", workers])
    assert told.returncode == 0, told.stderr
    expected = ids_of(dealt(tmp_path, sources))
    for name, ids in ids_of(Store.open(path)).items():
        assert ids.tolist() == expected[name].tolist()


def test_a_split_that_gets_no_event_of_a_piece_has_no_shard_of_it(tmp_path, sources):
    found = dealt(tmp_path, sources, events_per_shard=2)
    names = {(each.split, each.name) for each in found.manifest.shards}
    there = {(path.parent.name, path.name) for path in found.path.glob("*/*-*")}
    assert names == there
    assert len(names) < 3 * 3 * 30
    assert all(each.events for each in found.manifest.shards)


def icecube(path, sources, **changes):
    asked = {"experiment": "icecube", "neighbours": 0, "events_per_shard": 8}
    return stage_task(path, {"train": sources}, **{**asked, **changes})


def do(folder, *steps):
    return [run(STAGE, [str(folder.path), *step.split()]) for step in steps]


@pytest.fixture
def batches(tmp_path):
    """Two batches with truth and the geometry of their detector."""
    return [
        batch(tmp_path / f"raw{n}", pulses([9, 14, 5] * 8, seed=n, first_id=100 * n))
        for n in range(2)
    ]


def test_a_detectors_tables_are_kept_once_and_dealt_events_share_them(tmp_path, batches):
    folder, task = icecube(tmp_path, batches, fractions={"train": 0.5, "test": 0.5})
    assert do(folder, "--begin", "--part 0", "--part 1", "--finish") == [0] * 4
    found = Store.open(task.store)
    assert TABLES in found.manifest.files
    tables = read_tables(task.store)
    np.testing.assert_array_equal(tables["geometry"], geometry().astype(np.float32))
    for split in ("train", "test"):
        shard = found.shards(split)[0].read()
        assert tables["geometry"][shard["sensor_id"]].shape == (len(shard["points"]), 3)


def test_a_source_of_another_detector_is_refused(tmp_path, batches, capsys):
    write_geometry(batches[1].parents[1] / "sensor_geometry.csv", geometry() + 1)
    folder, task = icecube(tmp_path, batches)
    assert do(folder, "--begin", "--part 0", "--part 1") == [0, 0, Exit.BAD_INPUT]
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"{batches[1]}: its table 'geometry' is not that of {task.store}" in message
    assert "stage the others into a store of their own" in message
    assert list(task.store.glob("*/00001-*")) == []


def test_a_changed_byte_of_the_tables_is_found(tmp_path, batches):
    folder, task = icecube(tmp_path, batches[:1])
    assert do(folder, "--begin", "--part 0", "--finish") == [0] * 3
    path = task.store / TABLES
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"tables\.npz: not what was written"):
        Store.open(task.store)
