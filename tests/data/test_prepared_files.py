"""Events straight from files: as a store that is staged of the same files would have them."""

from collections import Counter

import numpy as np
import pytest
from made_events import events, store

from pipeline.campaign.model_folder import SourceFiles
from pipeline.data.errors import BadInput
from pipeline.data.prepared_files import PreparedFiles, check_files
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.store.places import Origins

SIZES = [20 + number % 9 for number in range(50)]
MOST = 26  # points; larger events are left out


def files(folder, **changes):
    source = {"experiment": "sphenix", "order": "REP", "neighbours": 3, "max_points": MOST}
    source |= {"bins": "made.zarr/bins.json"}
    return PreparedFiles(SourceFiles.model_validate(source | changes), folder, Counter())


@pytest.fixture
def staged(tmp_path):
    """A file, and the store that is staged of it."""
    path = tmp_path / "spacepoints_0.npz"
    write_npz(path, events(SIZES, seed=1), labelled=True)
    return path, store(tmp_path, {"train": [path]}, max_points=MOST, events_per_shard=16)


@pytest.mark.parametrize("step", [7, 1000])
def test_events_of_a_file_are_those_of_the_store(tmp_path, staged, step):
    path, made = staged
    read = files(tmp_path)
    parts = list(read.stream(str(path), step))
    shards = [shard.read() for shard in made.shards("train")]
    for name in ("points", "neighbours", "track_id", "noise"):
        stored = np.concatenate([each[name] for each in shards])
        values = [
            each.events.points if name == "points" else each.events.per_point[name]
            for each in parts
        ]
        assert np.array_equal(np.concatenate(values), stored), name
    ids = np.concatenate([each.events.event_id for each in parts])
    assert np.array_equal(ids, np.concatenate([each["event_id"] for each in shards]))
    assert read.rejected["too_many_points"] == sum(size > MOST for size in SIZES)
    assert parts[-1].read == parts[-1].count == len(SIZES)


def test_an_entry_is_what_the_store_says_of_the_event(tmp_path, staged):
    path, made = staged
    (part,) = files(tmp_path).stream(str(path), 1000)
    assert part.entry.tolist() == [n for n, size in enumerate(SIZES) if size <= MOST]
    names, entry = Origins(made, "train").of(0, part.events)
    assert set(names) == {str(path)}
    assert np.array_equal(entry, part.entry)


def test_a_file_without_labels_and_a_range_without_events(tmp_path, staged):
    plain = tmp_path / "plain" / "spacepoints_0.npz"
    write_npz(plain, events([*[30] * 10, *[20] * 3], seed=1), labelled=False)
    parts = list(files(tmp_path, neighbours=0).stream(str(plain), 5))
    assert [len(each.events) for each in parts] == [3]
    assert parts[0].events.per_point == {}


def test_what_is_no_file_of_the_experiment_is_refused(tmp_path, staged):
    with pytest.raises(BadInput, match=r"a\.csv: cannot be read|no reader of sphenix takes"):
        list(files(tmp_path).stream(str(tmp_path / "a.csv"), 5))
    with pytest.raises(BadInput, match=r"none.json: .*bins"):
        list(files(tmp_path, bins="none.json").stream(str(staged[0]), 5))


def test_a_file_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "link.root").symlink_to(tmp_path / "a.root")
    with pytest.raises(BadInput, match=r"a\.root: given twice"):
        check_files([str(tmp_path / "a.root"), str(tmp_path / "link.root")])
    check_files(["https://host/a.root", str(tmp_path / "a.root")])
