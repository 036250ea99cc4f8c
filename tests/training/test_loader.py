"""What is trained on, and in which order."""

import shutil

import pytest

torch = pytest.importorskip("torch")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_batches import write_store

from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.training.loader import load, store_hash, visited


def column(store, name):
    """An array of all shards together, as it is stored."""
    shards = Store.open(store).shards("train")
    return np.concatenate([shard.read((name,))[name] for shard in shards])


@given(st.integers(1, 50), st.integers(0, 9), st.integers(0, 200), st.integers(1, 60))
def test_the_order_depends_on_seed_and_position_alone(events, seed, start, count):
    whole = visited(events, seed, 0, start + count)
    assert np.array_equal(whole[start:], visited(events, seed, start, count))


@given(st.integers(1, 30), st.integers(0, 9), st.integers(0, 5))
def test_an_epoch_visits_every_event_once(events, seed, epoch):
    found = visited(events, seed, epoch * events, events)
    assert sorted(found) == list(range(events))


def test_epochs_and_seeds_differ():
    first, second = visited(50, 1, 0, 50), visited(50, 1, 50, 50)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, visited(50, 2, 0, 50))


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_the_ranks_batches_together_are_the_batch_of_one(store, ranks):
    events = load(store, "train", neighbours=2, tracks=True)
    whole = events.batch(visited(len(events), 1, 18, 12))
    share = 12 // ranks
    parts = [
        events.batch(visited(len(events), 1, 18 + rank * share, share)) for rank in range(ranks)
    ]
    for name in ("points", "neighbours", "track", "event_id", "sizes"):
        together = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(together, getattr(whole, name)), name


def test_events_come_normalised_and_go_back_to_physical_units(store):
    events = load(store, "train")
    assert len(events) == 24
    assert events.points.min() >= 0.0
    assert events.points.max() <= 1.0
    np.testing.assert_allclose(events.physical(100), column(store, "points")[:100], atol=1e-3)


def test_a_batch_holds_each_event_s_own_points(store):
    events = load(store, "train", neighbours=3, tracks=True)
    batch = events.batch(np.array([20, 3]))
    assert batch.event_id.tolist() == [1020, 1003]
    start, stop = events.offsets[3], events.offsets[4]
    assert torch.equal(batch.points[batch.event == 1], torch.from_numpy(events.points[start:stop]))
    assert batch.neighbours.shape == (len(batch.points), 3)


def test_the_first_events_are_the_same_however_many_are_asked(store):
    few, all_ = load(store, "train", events=11, tracks=True), load(store, "train", tracks=True)
    assert few.event_id.tolist() == list(range(1000, 1011))
    assert np.array_equal(few.points, all_.points[: few.offsets[-1]])
    assert np.array_equal(few.track, all_.track[: few.offsets[-1]])


def test_a_shard_that_is_not_needed_is_not_read(store, tmp_path):
    few = write_store(tmp_path / "broken.zarr")
    shutil.rmtree(few / "train" / "00001" / "points")
    assert len(load(few, "train", events=10)) == 10
    with pytest.raises(BadInput, match="00001: damaged"):
        load(few, "train", events=11)


def test_fewer_neighbours_than_staged_are_the_nearest(store):
    one, three = load(store, "train", neighbours=1), load(store, "train", neighbours=3)
    assert np.array_equal(one.neighbours, three.neighbours[:, :1])


def test_noise_belongs_to_no_track(store):
    events = load(store, "train", tracks=True)
    noise = column(store, "noise")
    assert noise.any()
    assert (events.track[noise] == 0).all()
    assert (events.track[~noise] > 0).all()


def test_truth_and_neighbours_are_read_only_if_asked(store):
    batch = load(store, "train").batch(np.array([0, 1]))
    assert len(batch.track) == 0
    assert batch.neighbours.shape == (len(batch.points), 0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"events": 25}, "25 events asked of split 'train', which holds 24."),
        ({"events": 0}, "0 events asked of split 'train', which holds 24."),
        ({"neighbours": 4}, "4 next neighbours asked, 3 staged. Stage again with more"),
        ({"split": "test"}, "no split 'test'; this store has train."),
    ],
)
def test_what_the_store_does_not_hold(store, asked, message):
    with pytest.raises(BadInput) as caught:
        load(store, **{"split": "train"} | asked)
    assert str(store) in str(caught.value)
    assert message in str(caught.value)


def test_a_store_without_truth(tmp_path):
    store = write_store(tmp_path / "plain.zarr", labelled=False)
    with pytest.raises(BadInput, match="no array 'track_id'; this shard has points, offsets"):
        load(store, "train", tracks=True)


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no store here"):
        load(tmp_path / "none.zarr", "train")


def test_a_store_s_hash_is_of_its_content_and_not_of_its_place(store, tmp_path):
    again = write_store(tmp_path / "again.zarr")
    other = write_store(tmp_path / "other.zarr", shards=(24,))
    assert store_hash(Store.open(again)) == store_hash(Store.open(store))
    assert store_hash(Store.open(other)) != store_hash(Store.open(store))
