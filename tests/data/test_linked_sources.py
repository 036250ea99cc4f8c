"""Sources that are links, as in the caches of Hugging Face, DataLad and git-annex."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_events import events, read_all, store
from made_pulses import batch, pulses
from staged_alone import command, ended

from pipeline.data.companions import companion, found_beside
from pipeline.data.experiments.icecube import companions as of_batch
from pipeline.data.experiments.sphenix import companions as of_spacepoints
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.store import Store

SIZES = [20, 30, 0, 25, 40]
NAME = "spacepoints_000.npz"
LABELS = {"track_id", "pid", "noise"}


@pytest.fixture
def raw(tmp_path):
    """A folder with one labelled set of TPCpp-10M."""
    write_npz(tmp_path / "raw" / NAME, events(SIZES), labelled=True)
    return tmp_path / "raw"


def hugging_face(folder, blobs):
    """Put the files of `folder` among `blobs`, named by their hashes, and links in their place."""
    blobs.mkdir(parents=True)
    for path in [each for each in sorted(folder.rglob("*")) if each.is_file()]:
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, path.parent))


def git_annex(folder, objects):
    """Do the same as git-annex, which DataLad uses: each object is in a folder of its own name."""
    for path in [each for each in sorted(folder.rglob("*")) if each.is_file()]:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        key = f"SHA256E-s{path.stat().st_size}--{digest}{path.suffix}"
        target = objects / digest[:3] / digest[3:6] / key / key
        target.parent.mkdir(parents=True)
        path.rename(target)
        path.symlink_to(os.path.relpath(target, path.parent))


@pytest.mark.parametrize("cache", [hugging_face, git_annex])
def test_a_cache_of_links_is_staged_with_its_labels(tmp_path, raw, cache):
    plain = read_all(raw / NAME)[0]
    cache(raw, tmp_path / "cache")
    found = read_all(raw / NAME)[0]
    assert set(found.per_point) == LABELS
    for name, values in plain.per_point.items():
        np.testing.assert_array_equal(found.per_point[name], values)
    manifest = store(tmp_path, {"train": [raw / NAME]}).manifest
    assert [Path(each.path).name for each in manifest.sources] == [NAME, *of_spacepoints(NAME)]


@pytest.mark.parametrize("cache", [hugging_face, git_annex])
def test_the_command_keeps_the_names_of_links(tmp_path, raw, cache):
    cache(raw, tmp_path / "cache")
    path = tmp_path / "events.zarr"
    words = command(path, raw / NAME, "--workers", 1)
    assert (told := ended(words)).returncode == 0, told.stderr
    staged = Store.open(path)
    assert set(staged.shards("train")[0].record.arrays) >= LABELS
    assert staged.manifest.sources[0].path == str(raw / NAME)


def test_truth_and_geometry_above_a_linked_batch_are_found(tmp_path):
    path = batch(tmp_path / "raw", pulses([9, 14, 5]))
    hugging_face(tmp_path / "raw", tmp_path / "blobs")
    assert "azimuth" in read_all(path, "icecube")[0].per_event


def test_labels_beside_the_target_are_found_under_the_targets_name(tmp_path, raw):
    link = tmp_path / "mine" / "run-7.npz"
    link.parent.mkdir()
    link.symlink_to(raw / NAME)
    assert set(read_all(link)[0].per_point) == LABELS


def test_a_link_without_a_suffix_is_read_as_its_target(tmp_path, raw):
    link = tmp_path / "run-7"
    link.symlink_to(raw / NAME)
    assert set(read_all(link)[0].per_point) == LABELS


def test_labels_beside_the_link_come_before_those_beside_the_target(tmp_path, raw):
    link = tmp_path / "mine" / NAME
    link.parent.mkdir()
    link.symlink_to(raw / NAME)
    mine = link.with_name("pid_labels_000.npz")
    np.savez(mine, data=np.full(sum(SIZES), 3, np.int8))
    found = read_all(link)[0]
    assert set(found.per_point["pid"]) == {3}
    assert set(found.per_point) == LABELS
    assert found_beside(link, of_spacepoints)[0] == mine
    assert companion(link, of_spacepoints, 0) == raw / "track_ids_000.npz"


def test_the_folder_above_a_linked_folder_is_that_of_the_link(tmp_path):
    path = batch(tmp_path / "raw", pulses([9, 14, 5]))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "train").symlink_to(path.parent)
    for name in ("train_meta.parquet", "sensor_geometry.csv"):
        shutil.copy(tmp_path / "raw" / name, tmp_path / "here" / name)
    found = found_beside(tmp_path / "here" / "train" / path.name, of_batch)
    assert [each.parent for each in found[:2]] == [tmp_path / "here"] * 2


def test_a_companion_that_two_names_lead_to_is_there_once(tmp_path, raw):
    (tmp_path / "linked").symlink_to(raw)
    assert len(found_beside(tmp_path / "linked" / NAME, of_spacepoints)) == 3
