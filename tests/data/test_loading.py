import threading
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_events import events, store

from pipeline.data.errors import BadInput
from pipeline.data.loading import Loader, Reading
from pipeline.data.loading.index import index_of
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.store.places import places

NAMES = ("track_id", "neighbours")
FOR_ALL = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of 120 events in shards of at most 16, two of the events empty."""
    path = tmp_path_factory.mktemp("loading")
    sources = []
    for number in range(3):
        sizes = np.random.default_rng(number).integers(1, 30, 40)
        sizes[7] = 0 if number else 5
        sources.append(path / "raw" / f"spacepoints_{number:03d}.npz")
        write_npz(sources[-1], events(sizes, seed=number), labelled=True)
    return store(path, {"train": sources}, min_points=0, events_per_shard=16)


@pytest.fixture(scope="module")
def content(made):
    """Return every event of the store, read shard by shard: event id → its arrays."""
    found = {}
    for shard in made.shards("train"):
        arrays = shard.read()
        for place, event in enumerate(arrays["event_id"]):
            rows = slice(arrays["offsets"][place], arrays["offsets"][place + 1])
            found[int(event)] = {name: arrays[name][rows] for name in ("points", *NAMES)}
    return found


def reading(**changes):
    return Reading(**{"arrays": NAMES, "lane_events": 3, "epochs": 1, "seed": 4, **changes})


def given_ids(batches):
    return [int(event) for batch in batches for event in batch.event_id]


def all_ids(made, asked, ranks):
    """Return the events that each rank is given in one go."""
    return [given_ids(Loader(made, "train", asked, rank=r, ranks=ranks)) for r in range(ranks)]


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_event_comes_once_and_whole(made, content, memory_bytes, shuffle):
    asked = reading(memory_bytes=memory_bytes, shuffle=shuffle)
    batches = list(Loader(made, "train", asked))
    assert sorted(given_ids(batches)) == sorted(content)
    assert (given_ids(batches) == list(content)) is not shuffle
    for batch in batches:
        assert batch.offsets[0] == 0
        for place, event in enumerate(batch.event_id):
            rows = slice(batch.offsets[place], batch.offsets[place + 1])
            for name, values in {"points": batch.points, **batch.per_point}.items():
                expected = content[int(event)][name]
                assert values.dtype == expected.dtype
                np.testing.assert_array_equal(values[rows], expected)


@FOR_ALL
@given(
    lanes=st.sampled_from([1, 2, 4, 8]),
    window_blocks=st.integers(1, 9),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_ranks_share_the_events_in_memory_or_not(made, lanes, window_blocks, seed, data):
    ranks = data.draw(st.integers(1, lanes))
    asked = {"lanes": lanes, "window_blocks": window_blocks, "seed": seed}
    expected = sorted(all_ids(made, reading(shuffle=False), 1)[0])
    for memory_bytes in (0, 1 << 30):
        several = all_ids(made, reading(**asked, memory_bytes=memory_bytes), ranks)
        assert sorted(event for ids in several for event in ids) == expected


@pytest.mark.parametrize("batch_events", [8, 64, 100])
@pytest.mark.parametrize("ranks", [1, 4])
def test_after_as_many_events_as_there_are_none_is_unseen_and_no_batch_has_one_twice(
    made, batch_events, ranks
):
    """Of 100 labelled events 9 % and 36 % were unseen, at batches of 8 and 64."""
    lanes = 50 if batch_events == 100 else batch_events
    asked = reading(events=100, lanes=lanes, lane_events=batch_events // lanes, epochs=None)
    loaders = [Loader(made, "train", asked, rank=rank, ranks=ranks) for rank in range(ranks)]
    steps = [given_ids(parts) for parts in islice(zip(*loaders, strict=True), 60)]
    assert all(len(step) == len(set(step)) == batch_events for step in steps)
    # A rank's lanes stand together in a step, so a pass ends in it in any order.
    counts = Counter(event for step in steps for event in step)
    passes = 60 * batch_events / 100
    assert len(counts) == 100
    assert min(counts.values()) >= int(passes)
    assert max(counts.values()) <= -int(-passes // 1)


def test_the_order_in_memory_is_of_the_events_and_not_of_their_files(made, tmp_path):
    sources = sorted(made.path.parent.glob("raw/spacepoints_*.npz"), reverse=True)
    turned = store(tmp_path, {"train": sources}, min_points=0, events_per_shard=16)
    first = all_ids(made, reading(lanes=4), 2)
    assert all_ids(turned, reading(lanes=4), 2) == first


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 4), (4, 1), (3, 2), (8, 5)])
def test_a_resume_at_any_world_size_goes_on_where_the_last_stopped(made, before, after):
    asked = reading(lanes=8, epochs=None)
    whole = Loader(made, "train", asked)
    expected = [sorted(given_ids([batch])) for batch in islice(whole, 24)]
    first = [Loader(made, "train", asked, rank=rank, ranks=before) for rank in range(before)]
    steps = list(zip(*(islice(loader, 11) for loader in first), strict=True))
    assert {loader.step for loader in first} == {11}
    second = [Loader(made, "train", asked, rank=rank, ranks=after) for rank in range(after)]
    for loader in second:
        loader.seek(11)
    steps += list(zip(*(islice(loader, 13) for loader in second), strict=True))
    assert [sorted(given_ids(step)) for step in steps] == expected


def test_a_step_can_be_sought_where_lanes_give_equal_numbers(made):
    asked = reading(lanes=4, epochs=None)
    whole, later = (Loader(made, "train", asked) for _ in range(2))
    later.seek(29)
    expected = [given_ids([batch]) for batch in islice(whole, 34)][29:]
    assert [given_ids([batch]) for batch in islice(later, 5)] == expected


def test_the_order_is_the_seeds_and_differs_between_epochs(made):
    twice = reading(epochs=2)
    ids = all_ids(made, twice, 1)[0]
    assert ids == all_ids(made, twice, 1)[0]
    assert ids != all_ids(made, reading(epochs=2, seed=5), 1)[0]
    assert ids[:120] != ids[120:]
    assert sorted(ids[:120]) == sorted(ids[120:])


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_event_knows_which_pass_it_is_in(made, memory_bytes, shuffle):
    """However batches lie across the ends of passes, and wherever a resume begins."""
    asked = reading(lanes=4, lane_events=7, epochs=3, memory_bytes=memory_bytes, shuffle=shuffle)
    whole, later = (Loader(made, "train", asked) for _ in range(2))
    batches = list(whole)
    visits = {}
    for batch in batches:
        for event, epoch in zip(batch.event_id.tolist(), batch.epoch.tolist(), strict=True):
            visits.setdefault(event, []).append(epoch)
    assert len(visits) == 120
    assert all(sorted(epochs) == [0, 1, 2] for epochs in visits.values())
    if memory_bytes and shuffle:
        epochs = [epoch for batch in batches for epoch in batch.epoch.tolist()]
        assert epochs == sorted(epochs), "one pass after the other"
    later.seek(9)
    for ours, theirs in zip(later, batches[9:], strict=True):
        np.testing.assert_array_equal(ours.epoch, theirs.epoch)


def test_events_of_different_files_meet_in_a_window(made):
    ids = np.array(all_ids(made, reading(window_blocks=8), 1)[0])
    assert len(set(ids[:30] >> 32)) > 1


@FOR_ALL
@given(sizes=st.lists(st.integers(1, 120), min_size=2, max_size=5))
def test_subsets_nest_and_have_the_requested_size(made, sizes):
    subsets = []
    for size in sorted(sizes):
        asked = reading(events=size)
        subsets.append(set(all_ids(made, asked, 1)[0]))
        assert len(subsets[-1]) == size
    assert all(small <= large for small, large in pairwise(subsets))


def test_subsets_take_from_all_files(made):
    files = [places(made, event)[0].file.path for event in all_ids(made, reading(events=30), 1)[0]]
    assert min(Counter(files).values()) >= 4
    assert len(set(files)) == 3


def test_fewer_events_than_lanes_are_shared_over_the_epochs(made):
    asked = reading(events=3, lanes=8, lane_events=1, epochs=None)
    ids = [given_ids([batch]) for batch in islice(Loader(made, "train", asked), 12)]
    assert {len(step) for step in ids} == {8}
    counts = np.unique([event for step in ids for event in step], return_counts=True)[1]
    assert len(counts) == 3


def test_a_damaged_shard_is_named_by_the_loader(made, tmp_path):
    shard = made.shards("train")[2]
    path = shard.path / "points" / "c" / "0" / "0"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
        with pytest.raises(BadInput, match=f"{shard.path}/points: damaged"):
            list(Loader(made, "train", reading(memory_bytes=0)))
    finally:
        path.write_bytes(whole)


def test_a_reader_that_stops_early_leaves_no_thread(made):

    loader = Loader(made, "train", reading(epochs=None))
    for _ in islice(loader, 2):
        pass
    assert not [each for each in threading.enumerate() if each.name == "loader"]


def test_what_cannot_be_is_refused(made):
    with pytest.raises(BadInput, match="5 processes for 4 lanes"):
        Loader(made, "train", reading(lanes=4), rank=0, ranks=5)
    with pytest.raises(BadInput, match="gives 3 blocks of events for 4 lanes"):
        Loader(made, "train", reading(events=3, lanes=4, shuffle=False))


def test_blocks_do_not_depend_on_who_reads(made):
    index = index_of(made, "train", lanes=4)
    assert index.events.sum() == 120
    assert len(index) >= 8
    assert (index.stop > index.start).all()
