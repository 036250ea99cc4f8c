"""What a shard records of its truth: tracks and labels."""

import numpy as np
from made_events import events, stage_task

from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.data.store.content import labels_in, track_count


def test_tracks_are_counted_in_each_event_and_noise_is_none():
    arrays = {
        "offsets": np.array([0, 4, 7, 7, 9]),
        "track_id": np.array([1, 1, 2, 0, 2, 2, -5, 2, 2**31 - 1], np.int32),
    }
    assert track_count(arrays) == 2 + 2 + 0 + 2
    noise = np.array([0, 0, 0, 0, 0, 0, 1, 0, 0], np.int8)
    assert track_count(arrays | {"noise": noise}) == 2 + 1 + 0 + 2
    assert track_count(arrays | {"track_id": np.zeros(9, np.int64)}) == 0
    assert track_count({"offsets": np.array([0, 1])}) is None


def test_labels_are_whole_numbers_of_events_and_not_too_many():
    assert labels_in({"label": np.array([3, 0, 3], np.int64)}) == (0, 3)
    assert labels_in({"label": np.array([0.5])}) is None
    assert labels_in({"label": np.arange(5000)}) is None
    assert labels_in({}) is None


def test_each_split_of_a_staged_store_has_its_own_tracks(tmp_path):
    sources = {}
    for split, sizes, seed in (("train", [20, 30, 25], 0), ("test", [60, 70], 1)):
        path = tmp_path / "raw" / f"spacepoints_{seed:03d}.npz"
        write_npz(path, events(sizes, seed=seed), labelled=True)
        sources[split] = (path,)
    folder, task = stage_task(tmp_path, sources)
    for step in ("--begin", "--part 0", "--part 1", "--finish"):
        assert run(STAGE, [str(folder.path), *step.split()]) == 0
    store = Store.open(task.store)
    for split in sources:
        for shard in store.shards(split):
            arrays = shard.read()
            found = sum(
                len({*arrays["track_id"][low:high][arrays["noise"][low:high] == 0]} - {0})
                for low, high in zip(arrays["offsets"], arrays["offsets"][1:], strict=False)
            )
            assert shard.record.tracks == found > 0
            assert shard.record.labels is None
