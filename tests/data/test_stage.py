import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from made_events import events, stage_task

from pipeline.data.checksums import sha256
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.identity import base_of
from pipeline.data.preparation.bins import read_bins
from pipeline.data.preparation.serialise import Preparation, serialise
from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulation.sphenix_root import write_root
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.outcome import Exit
from pipeline.writing import read_json

SIZES = [20, 30, 0, 25, 40, 22, 90]


def stage(folder, *steps):
    return [run(STAGE, [str(folder.path), *step.split()]) for step in steps]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "raw" / "spacepoints_000.npz"
    write_npz(path, events(SIZES), labelled=True)
    return path


def files_of(store):
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def test_a_source_becomes_shards_of_events_in_voxel_order(tmp_path, source):
    other = tmp_path / "raw" / "spacepoints_001.npz"
    write_npz(other, events(SIZES, seed=1), labelled=True)
    folder, task = stage_task(tmp_path, {"train": (source, other)}, max_points=50)
    assert stage(folder, "--begin", "--part 1", "--part 0", "--finish") == [0, 0, 0, 0]
    assert folder.is_done
    store = Store.open(task.store)
    shards = [each.read() for each in store.shards("train")]
    assert [len(each["event_id"]) for each in shards] == [3, 2, 3, 2]
    ids = np.concatenate([each["event_id"] for each in shards])
    bases = [base_of(sha256(path)) for path in (source, other)]
    assert ids.tolist() == [base + entry for base in bases for entry in (0, 1, 3, 4, 5)]
    whole = events(SIZES).select(np.array(SIZES) % 90 > 0)
    bins = read_bins(task.store / "bins.json")
    expected, nearest = serialise(whole, Preparation(SPHENIX, "REP", neighbours=3, bins=bins))
    for name, values in {"points": expected.points, **expected.per_point}.items():
        np.testing.assert_array_equal(np.concatenate([each[name] for each in shards[:2]]), values)
    found = np.concatenate([each["neighbours"] for each in shards[:2]])
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, nearest)


def test_the_manifest_accounts_for_every_event_and_file(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)}, max_points=50)
    stage(folder, "--begin", "--part 0", "--finish")
    manifest = Store.open(task.store).manifest
    assert manifest.rejected == {"empty": 1, "too_many_points": 1}
    assert manifest.events == {"train": 5}
    assert len(manifest.sources) == 4
    assert manifest.sources[0].bytes == source.stat().st_size
    assert [(each.name, each.unit) for each in manifest.columns] == [
        ("energy", "ADC"),
        ("eta", "1"),
        ("phi", "rad"),
        ("r", "cm"),
    ]
    assert read_json(folder.result)["points"] == {"train": 137}


def test_the_same_task_gives_the_same_bytes(tmp_path, source):
    contents = []
    for name in ("one", "two"):
        folder, task = stage_task(tmp_path, {"train": (source,)}, name=name)
        stage(folder, "--begin", "--part 0", "--finish")
        contents.append(files_of(task.store))
    assert contents[0] == contents[1]


def test_nothing_is_done_twice_and_damage_is_mended(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    stage(folder, "--begin", "--part 0")
    whole = files_of(task.store)
    damaged, kept = (task.store / "train" / f"00000-00{piece}" for piece in range(2))
    age = (kept / "zarr.json").stat().st_mtime_ns
    (damaged / "points" / "c" / "0" / "0").write_bytes(b"damage")
    assert stage(folder, "--finish") == [Exit.BAD_INPUT]
    assert stage(folder, "--part 0", "--finish") == [0, 0]
    assert (kept / "zarr.json").stat().st_mtime_ns == age
    found = files_of(task.store)
    assert {name: found[name] for name in whole} == whole


def test_root_files_bring_their_truth_along(tmp_path, sample):
    path = tmp_path / "raw" / "pp200_000.root"
    write_root(path, sample)
    folder, task = stage_task(tmp_path, {"train": (path,)}, neighbours=0)
    assert stage(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    arrays = Store.open(task.store).shards("train")[0].read()
    assert "neighbours" not in arrays
    assert {"track_id", "pid", "noise", "pt_gev"} <= set(arrays)


def test_bins_can_come_from_another_store(tmp_path, source):
    first, one = stage_task(tmp_path, {"train": (source,)}, name="one")
    second, two = stage_task(tmp_path, {"test": (source,)}, name="two", bins_store=one.store)
    stage(first, "--begin")
    assert stage(second, "--begin") == [0]
    assert read_bins(two.store / "bins.json") == read_bins(one.store / "bins.json")


def test_bins_can_come_from_a_file_of_a_published_model(tmp_path, source):
    edges = {"eta": [0.0, 0.5, 1.0], "phi": [0.0, 0.5, 1.0], "radius": [0.0, 0.4, 1.0]}
    (tmp_path / "theirs.pkl").write_bytes(pickle.dumps(edges))
    folder, task = stage_task(
        tmp_path, {"train": (source,)}, bins_file=str(tmp_path / "theirs.pkl")
    )
    assert stage(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    bins = read_bins(task.store / "bins.json")
    assert bins.edges == tuple(map(tuple, edges.values()))
    assert bins.source == str(tmp_path / "theirs.pkl")


def test_bins_are_never_fitted_again(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    stage(folder, "--begin")
    path = task.store / "bins.json"
    changed = replace(read_bins(path), source="another file")
    changed.write(path)
    stage(folder, "--begin")
    assert read_bins(path) == changed


def test_without_bins_no_part_is_staged(tmp_path, source, capsys):
    folder, _ = stage_task(tmp_path, {"train": (source,)})
    assert stage(folder, "--part 0") == [Exit.BAD_INPUT]
    assert "no voxel bins here" in capsys.readouterr().err


def test_without_a_training_split_no_bins_are_fitted(tmp_path, source, capsys):
    folder, _ = stage_task(tmp_path, {"test": (source,)})
    assert stage(folder, "--begin") == [Exit.BAD_INPUT]
    assert "no split 'train' to fit voxel bins on, only test" in capsys.readouterr().err


def test_files_with_and_without_labels_do_not_share_a_split(tmp_path, source, capsys):
    other = tmp_path / "raw" / "spacepoints_001.npz"
    write_npz(other, events(SIZES, seed=1), labelled=False)
    folder, _ = stage_task(tmp_path, {"train": (source, other)})
    assert stage(folder, "--begin", "--part 0", "--part 1", "--finish")[-1] == Exit.BAD_INPUT
    message = capsys.readouterr().err
    assert "some files of split 'train' lack noise, pid, track_id, or have it in another" in message


def test_a_split_without_usable_events_is_refused(tmp_path, source, capsys):
    other = tmp_path / "raw" / "spacepoints_001.npz"
    write_npz(other, events([95, 99]), labelled=True)
    folder, _ = stage_task(tmp_path, {"train": (source,), "test": (other,)}, max_points=90)
    assert stage(folder, "--begin", "--part 0", "--part 1", "--finish")[-1] == Exit.BAD_INPUT
    assert (
        "no usable event in split 'test'; rejected: 1 empty, 2 too_many_points"
        in capsys.readouterr().err
    )


def test_bad_input_is_one_line_a_result_and_exit_65(tmp_path, source, capsys):
    source.write_bytes(source.read_bytes()[:100])
    folder, task = stage_task(tmp_path, {"train": (source,)})
    assert stage(folder, "--begin") == [Exit.BAD_INPUT]
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert read_json(folder.result) == {"outcome": "bad_input", "message": message.strip()}
    assert not task.store.exists()


def test_a_store_of_a_killed_process_is_completed(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    stage(folder, "--begin", "--part 0")
    (folder.parts / "000.json").unlink()
    leftover = task.store / "train" / ".00000-001.99.tmp"
    leftover.mkdir()
    assert stage(folder, "--part 0", "--finish") == [0, 0]
    assert not leftover.exists()
    assert json.loads((task.store / "manifest.json").read_text())["events"] == {"train": 6}
