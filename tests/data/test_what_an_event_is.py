"""Splits that survive reordering, adding, renaming and sharing of files; and no file twice."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_events import events, stage_task, store
from made_pulses import batch, pulses

from pipeline import records
from pipeline.data import identity, staged
from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.identity import base_of, ids_from
from pipeline.data.preparation.bins import read_bins
from pipeline.data.preparation.coordinates import cylindrical
from pipeline.data.program import part_record, run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.splits import are_in
from pipeline.data.stage import STAGE
from pipeline.data.staged import StagedFile
from pipeline.data.store import Store
from pipeline.data.store.manifest import read_manifest, write_manifest
from pipeline.data.store.places import places
from pipeline.outcome import Exit

FRACTIONS = {"train": 0.5, "validation": 0.2, "test": 0.3}
FLAT = {"neighbours": 0, "order": "file"}
SIZES = [20 + number % 7 for number in range(50)]
PLAIN = {"fractions": FRACTIONS, **FLAT, "events_per_shard": 16}


def made(folder, *numbers, labelled=False):
    """Write one small file for each of `numbers`, which alone decide its content."""
    paths = [folder / f"spacepoints_{number}.npz" for number in numbers]
    for number, path in zip(numbers, paths, strict=True):
        write_npz(path, events(SIZES, seed=number), labelled=labelled)
    return paths


def dealt(found):
    """Return by split the first point of each event, which tells events by their content."""
    several = {}
    for split in found.splits:
        firsts = []
        for shard in found.shards(split):
            arrays = shard.read(("points", "offsets"))
            firsts += map(tuple, arrays["points"][arrays["offsets"][:-1]].tolist())
        several[split] = set(firsts)
    return several


def ids(found):
    return {
        split: {
            each for shard in found.shards(split) for each in shard.read(("event_id",))["event_id"]
        }
        for split in found.splits
    }


def do(folder, *steps):
    return [run(STAGE, [str(folder.path), *step.split()]) for step in steps]


@pytest.fixture
def first(tmp_path):
    """A store of three files."""
    return store(tmp_path, {"train": made(tmp_path / "raw", 1, 2, 10)}, name="first", **PLAIN)


def test_the_order_of_the_files_changes_nothing(tmp_path, first):
    turned = made(tmp_path / "raw", 10, 1, 2)
    other = store(tmp_path, {"train": turned}, name="other", **PLAIN)
    assert ids(other) == ids(first)
    assert dealt(other) == dealt(first)


def test_a_file_that_is_added_changes_no_other_event(tmp_path, first):
    """batch_10 comes before batch_2: the place of a file in a sorted list is no name."""
    more = made(tmp_path / "raw", 0, 1, 10, 2, 3)
    other = dealt(store(tmp_path, {"train": more}, name="other", **PLAIN))
    for split, those in dealt(first).items():
        assert those < other[split]


def test_names_folders_copies_and_links_change_nothing(tmp_path, first):
    one, two, ten = made(tmp_path / "raw", 1, 2, 10)
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    moved = tmp_path / "elsewhere" / "deep" / "a.npz"
    shutil.copy(one, moved)
    linked = tmp_path / "elsewhere" / "b.npz"
    linked.symlink_to(two)
    hard = tmp_path / "elsewhere" / "c.npz"
    os.link(ten, hard)
    other = store(tmp_path, {"x": [linked, moved, hard]}, name="other", **PLAIN)
    assert ids(other) == ids(first)


def test_labels_belong_to_no_identity(tmp_path):
    plain = made(tmp_path / "labelled", 1, labelled=True)
    bare = tmp_path / "bare" / plain[0].name
    bare.parent.mkdir()
    shutil.copy(plain[0], bare)
    both = [
        store(tmp_path, {"x": [path]}, name=name, **PLAIN)
        for name, path in (("labelled", plain[0]), ("bare", bare))
    ]
    assert ids(both[0]) == ids(both[1])


def test_ids_are_the_head_of_the_hash_and_the_place(tmp_path, first):
    expected = [
        ids_from(base_of(each.sha256), np.arange(50)) for each in first.manifest.source_files
    ]
    assert set(np.concatenate(expected)) == set().union(*ids(first).values())
    assert [each.sha256 for each in first.manifest.source_files] == [
        sha256(tmp_path / "raw" / f"spacepoints_{number}.npz") for number in (1, 2, 10)
    ]


def test_bins_are_fitted_on_training_events_alone(tmp_path):
    (path,) = made(tmp_path / "raw", 1)
    found = store(tmp_path, {"x": [path]}, **{**PLAIN, "order": "REP"})
    mine = are_in("train", ids_from(base_of(sha256(path)), np.arange(50)), FRACTIONS)
    bins = read_bins(found.path / "bins.json")
    assert bins.points == sum(np.array(SIZES)[mine])
    alone = tmp_path / "alone" / path.name
    write_npz(alone, events(SIZES, seed=1).select(mine), labelled=True)
    other = store(tmp_path, {"train": [alone]}, name="alone", neighbours=0)
    assert read_bins(other.path / "bins.json").edges == bins.edges


def test_bins_without_a_training_event_are_told(tmp_path, capsys):
    (path,) = made(tmp_path / "raw", 1)
    rare = {"train": 1e-9, "test": 1 - 1e-9}
    folder, _ = stage_task(tmp_path, {"x": [path]}, fractions=rare)
    assert do(folder, "--begin") == [Exit.BAD_INPUT]
    assert "none of its first 2000 events is usable and of split 'train'" in capsys.readouterr().err


def twice(tmp_path):
    """Return a task that lists a file and a copy of it, in two splits, and both paths."""
    one, other = made(tmp_path / "raw", 1, 2)
    shutil.copy(one, other)
    return *stage_task(tmp_path, {"train": [one], "test": [other]}, **FLAT), one, other


def test_a_copy_of_a_file_is_refused_before_it_is_staged(tmp_path, capsys):
    folder, task, one, other = twice(tmp_path)
    assert do(folder, "--begin", "--part 0", "--part 1") == [0, 0, Exit.BAD_INPUT]
    message = capsys.readouterr().err
    assert f"{task.store}: {one} and {other} have the same content (SHA-256 " in message
    assert "their events would be staged twice. List one of them, in one split." in message
    assert message.count("\n") == 1
    assert list(task.store.glob("test/*")) == []
    assert do(folder, "--part 0") == [0]


def test_a_copy_is_refused_when_the_store_is_finished_too(tmp_path, capsys, monkeypatch):
    folder, _, one, other = twice(tmp_path)
    monkeypatch.setattr("pipeline.data.stage.claim_content", lambda *_: None)
    steps = ("--begin", "--part 0", "--part 1", "--finish")
    assert do(folder, *steps) == [0, 0, 0, Exit.BAD_INPUT]
    assert f"{one} and {other} have the same content" in capsys.readouterr().err


def test_a_file_that_took_the_content_of_one_that_changed_is_no_double(tmp_path):
    folder, task, one, _ = twice(tmp_path)
    assert do(folder, "--begin", "--part 0") == [0, 0]
    write_npz(one, events(SIZES, seed=7), labelled=True)
    assert do(folder, "--part 1", "--part 0", "--finish") == [0, 0, 0]
    assert Store.open(task.store).manifest.events == {"train": 50, "test": 50}


def test_ids_that_meet_by_chance_are_told(tmp_path, capsys, monkeypatch):
    one, other = made(tmp_path / "raw", 1, 2)
    folder, task = stage_task(tmp_path, {"train": [one, other]}, **FLAT)
    for module in (identity, staged):
        monkeypatch.setattr(module, "base_of", lambda content: base_of(content) % 40)
    steps = ("--begin", "--part 0", "--part 1", "--finish")
    assert do(folder, *steps)[-1] == Exit.BAD_INPUT
    message = capsys.readouterr().err
    assert f"{task.store}: the event ids of " in message
    assert "meet, by a chance of about 1e-6. Stage one of them into a store of its own." in message


def numbered(tmp_path, seed, *, first_id, name="raw"):
    """Write an IceCube batch whose events have the numbers from `first_id` on."""
    path = batch(tmp_path / name, pulses([9, 14, 5] * 8, seed=seed))
    for each in (path, path.parents[1] / "train_meta.parquet"):
        table = pq.read_table(each)
        event_id = table.column("event_id").to_numpy()
        ids = pa.array(event_id - event_id.min() + first_id)
        index = table.column_names.index("event_id")
        pq.write_table(table.set_column(index, "event_id", ids), each)
    return path


ICE = {"experiment": "icecube", "neighbours": 0, "events_per_shard": 5}


def test_an_experiment_that_numbers_its_events_is_taken_at_its_word(tmp_path):
    """A batch that is written anew, with another compression, has the same events."""
    path = numbered(tmp_path, 1, first_id=700)
    ours = store(tmp_path, {"x": [path]}, name="one", fractions=FRACTIONS, **ICE)
    assert ours.manifest.event_key == "source_event_id"
    assert ours.manifest.source_files[0].keys == (700, 769)
    shutil.copytree(tmp_path / "raw", tmp_path / "anew")
    anew = tmp_path / "anew" / path.parent.name / path.name
    pq.write_table(pq.read_table(path), anew, compression="gzip", row_group_size=40)
    other = store(tmp_path, {"x": [anew]}, name="two", fractions=FRACTIONS, **ICE)
    assert sha256(anew) != sha256(path)
    assert ids(other) == ids(ours)


def test_the_place_in_the_file_is_kept_where_the_id_does_not_tell_it(tmp_path):
    found = store(tmp_path, {"train": [numbered(tmp_path, 1, first_id=700)]}, **ICE)
    shards = [each.read(("row", "source_event_id")) for each in found.shards("train")]
    rows = np.concatenate([each["row"] for each in shards])
    numbers = np.concatenate([each["source_event_id"] for each in shards])
    assert rows.tolist() == list(range(24))
    assert (numbers - 700).tolist() == (3 * rows).tolist()


def test_a_dataset_may_choose_the_place_in_the_file(tmp_path):
    path = numbered(tmp_path, 1, first_id=700)
    found = store(tmp_path, {"train": [path]}, event_key="file", **ICE)
    assert found.manifest.event_key == "file"
    assert "row" not in found.shards("train")[0].record.arrays
    assert set(ids_from(base_of(sha256(path)), np.arange(24))) == ids(found)["train"]


def test_a_key_that_the_files_lack_is_told(tmp_path, capsys):
    folder, _ = stage_task(tmp_path, {"x": made(tmp_path / "raw", 1)}, event_key="run", **FLAT)
    assert do(folder, "--begin", "--part 0") == [0, Exit.BAD_INPUT]
    assert "event_key 'run' is not there; expected whole numbers" in capsys.readouterr().err


def test_every_id_leads_back_to_its_file_and_row(tmp_path, first):
    names = {each.path: int(Path(each.path).stem[12:]) for each in first.manifest.source_files}
    for split in first.splits:
        for shard in first.shards(split):
            arrays = shard.read(("event_id", "points", "offsets"))
            for index, event_id in enumerate(arrays["event_id"].tolist()):
                (place,) = places(first, event_id)
                assert (place.split, place.shard, place.index) == (split, shard.record.name, index)
                whole = events(SIZES, seed=names[place.file.path])
                expected = cylindrical(whole).points[whole.offsets[place.row]]
                found = arrays["points"][arrays["offsets"][index]]
                np.testing.assert_array_equal(found, expected)


def test_a_rejected_event_is_located_too(tmp_path):
    (path,) = made(tmp_path / "raw", 1)
    found = store(tmp_path, {"x": [path]}, min_points=24, **PLAIN)
    base = base_of(sha256(path))
    (place,) = places(found, base + 1)
    assert (place.row, place.shard, place.index) == (1, "", None)
    assert place.split in FRACTIONS
    (place,) = places(found, base + 5)
    assert place.shard


def test_a_store_of_an_older_version_says_what_to_type(tmp_path, first):
    older = read_manifest(first.path).model_copy(update={"schema_version": 2})
    write_manifest(first.path, older)
    with pytest.raises(BadInput) as told:
        Store.open(first.path)
    message = str(told.value)
    assert f"{first.path}: staged by an older version (cosmotron-events/2, this one reads 3)" in (
        message
    )
    assert f"rm -r {first.path}, then the same cosmotron run command." in message
    first.path.with_suffix(".staging").mkdir()
    with pytest.raises(BadInput, match=rf"rm -r {first.path} .*first\.staging, then the same cosm"):
        Store.open(first.path)


def test_parts_of_an_older_version_are_staged_anew(tmp_path):
    folder, _ = stage_task(tmp_path, {"train": made(tmp_path / "raw", 1)}, **FLAT)
    assert do(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    path = part_record(folder, 0)
    whole = records.read(path, StagedFile)
    content = json.loads(path.read_text())
    del content["version"]
    path.write_text(json.dumps(content))
    assert do(folder, "--finish") == [Exit.BAD_INPUT]
    assert do(folder, "--part 0", "--finish") == [0, 0]
    assert records.read(path, StagedFile).shards == whole.shards
