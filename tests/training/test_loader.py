"""What is trained on, and in which order."""

from itertools import islice

import pytest

torch = pytest.importorskip("torch")

import numpy as np
from made_batches import read_batch, write_store
from made_constituents import write_jets
from ranks import training

from pipeline.data.errors import BadInput
from pipeline.data.experiments.jetclass import COLUMN_NAMES as JETCLASS_COLUMNS
from pipeline.data.loading import Selection
from pipeline.data.loading.selection import point_array
from pipeline.data.store import Store
from pipeline.families import Reads
from pipeline.nn import draws
from pipeline.training.loader import training_batches

POINT = ("energy", "eta", "phi", "r")
MADE = ("log_energy", "isMuon", "deta")


def column(store, name):
    """An array of all shards together, as it is stored."""
    shards = Store.open(store).shards("train")
    return np.concatenate([shard.read((name,))[name] for shard in shards])


def batches(store, count, *, rank=0, ranks=1, seen=0, reads=None, events=None, **changes):
    """The first batches of one process, 12 events each over all of them."""
    reads = reads or Reads(POINT, per_point=("track",), neighbours=2)
    asked = training(**{"batch_events": 12, "devices": 1, **changes})
    selection = Selection(store, "train", reads, events)
    several = training_batches(selection, asked, 1, rank=rank, ranks=ranks, seen=seen)
    return [micro.batch for (micro,) in islice(several, count)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 6])
def test_the_ranks_batches_together_are_the_batch_of_one(store, ranks):
    (whole,) = batches(store, 1, seen=36)
    parts = [batches(store, 1, rank=rank, ranks=ranks, seen=36)[0] for rank in range(ranks)]
    ids = [event for part in parts for event in part.event_id.tolist()]
    assert sorted(ids) == sorted(whole.event_id.tolist())
    assert {len(part.event_id) for part in parts} == {12 // ranks}
    assert sum(len(part.points) for part in parts) == len(whole.points)


def numbers(store, ranks, *, seen=0, seed=1, **changes):
    """What is drawn for each point of three batches: (batch, event, epoch) → numbers."""
    reads, asked = Reads(POINT), training(**{"batch_events": 12, "devices": 1, **changes})
    found = {}
    for rank in range(ranks):
        several = training_batches(
            Selection(store, "train", reads), asked, seed, rank=rank, ranks=ranks, seen=seen
        )
        for number, micros in enumerate(islice(several, 3)):
            for micro in micros:
                batch = micro.batch
                each = draws.normal(batch, "noise", 2).split(batch.sizes.tolist())
                keys = zip(batch.event_id.tolist(), batch.epoch.tolist(), strict=True)
                found |= {(number, *k): v for k, v in zip(keys, each, strict=True)}
    return found


@pytest.mark.parametrize(("ranks", "micro_events"), [(2, None), (4, 1), (3, 2), (1, 5)])
def test_what_is_drawn_for_an_event_is_the_same_on_any_ranks_in_any_micro_batch(
    store, ranks, micro_events
):
    expected = numbers(store, 1, seen=12)
    found = numbers(store, ranks, seen=12, micro_events=micro_events)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_two_ranks_two_passes_and_two_seeds_draw_other_numbers(store):
    found = numbers(store, 2)
    first = {event: values for (_, event, epoch), values in found.items() if epoch == 0}
    second = {event: values for (_, event, epoch), values in found.items() if epoch == 1}
    assert second
    other = {event: v for (_, event, epoch), v in numbers(store, 2, seed=2).items() if epoch == 0}
    several = [*first.values(), *second.values(), *other.values()]
    whole = torch.cat(several).flatten()
    assert len(whole.unique()) > 0.999 * len(whole)  # of single precision, few are equal by chance


def test_an_epoch_visits_every_event_once(store):
    for epoch in (0, 1):
        ids = [event for each in batches(store, 2, seen=24 * epoch) for event in each.event_id]
        assert sorted(ids) == list(range(1000, 1024))


def test_each_seed_chooses_labels_of_its_own_fewer_among_more(store):
    def chosen(events, subset):
        selection = Selection(store, "train", Reads(POINT), events, subset)
        return frozenset(selection.load().event_id.tolist())

    for subset in (0, 1, 2):
        nested = [chosen(events, subset) for events in (4, 10, 20)]
        assert nested[0] < nested[1] < nested[2]
        assert [len(each) for each in nested] == [4, 10, 20]
    assert len({chosen(10, subset) for subset in range(5)}) == 5


def test_a_training_visits_the_labels_of_its_seed(store):
    reads = Reads(POINT, per_point=("track",), neighbours=2)
    selection = Selection(store, "train", reads, 12, subset=3)
    asked = training(batch_events=12, devices=1)
    ((micro,),) = islice(training_batches(selection, asked, 1, rank=0, ranks=1, seen=0), 1)
    assert set(micro.batch.event_id.tolist()) == set(selection.load().event_id.tolist())


def test_it_goes_on_from_wherever_all_have_seen(store):
    whole = batches(store, 9)
    later = batches(store, 4, seen=60)
    for ours, theirs in zip(later, whole[5:], strict=True):
        for name in ("points", "offsets", "event_id"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        for name in ("neighbours", "track"):
            assert torch.equal(ours.per_point[name], theirs.per_point[name]), name


@pytest.mark.parametrize(
    ("batch_events", "devices", "lanes"),
    [
        (32, 2, 32),
        (256, 4, 64),
        (256, 128, 128),
        (96, 32, 32),
        (20, 1, 20),
        (7, 7, 7),
        (8, 3, 8),
        (7, 3, 7),
        (127, 100, 127),
    ],
)
def test_lanes_divide_the_batch_and_are_shared_by_the_devices(batch_events, devices, lanes):
    assert training(batch_events=batch_events, devices=devices).lanes == lanes


def test_events_come_normalised_and_evaluation_has_physical_units(store):
    (batch,) = batches(store, 1)
    assert batch.points.min() >= 0.0
    assert batch.points.max() <= 1.0
    events = Selection(store, "train", Reads(POINT, per_point=("track",))).load()
    assert len(events) == 24
    np.testing.assert_array_equal(events.points[:100], column(store, "points")[:100])


def test_a_batch_holds_each_event_s_own_points(store):
    selection = Selection(store, "train", Reads(POINT, per_point=("track",)))
    for batch in batches(store, 2):
        for place, event in enumerate(batch.event_id.tolist()):
            alone = read_batch(selection, event - 1000, event - 999)
            assert torch.equal(batch.points[batch.event == place], alone.points)
            assert torch.equal(
                batch.per_point["track"][batch.event == place], alone.per_point["track"]
            )


def test_a_smaller_subset_lies_in_a_larger_one(store):
    few, more = (
        {event for each in batches(store, 6, events=size) for event in each.event_id.tolist()}
        for size in (11, 17)
    )
    assert (len(few), len(more)) == (11, 17)
    assert few < more


def test_fewer_neighbours_than_staged_are_the_nearest(store):
    (one,) = batches(store, 1, reads=Reads(POINT, neighbours=1))
    (three,) = batches(store, 1, reads=Reads(POINT, neighbours=3))
    assert torch.equal(one.per_point["neighbours"], three.per_point["neighbours"][:, :1])


def test_noise_belongs_to_no_track(store):
    events, noise = (
        Selection(store, "train", Reads(POINT, per_point=("track",))).load(),
        column(store, "noise"),
    )
    assert noise.any()
    track = point_array(events.per_point, "track")
    assert (track[noise] == 0).all()
    assert (track[~noise] > 0).all()


def test_truth_and_neighbours_are_read_only_if_asked(store):
    (batch,) = batches(store, 1, reads=Reads(POINT))
    assert batch.per_point == {}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"events": 25}, "25 events requested of split 'train', which has 24."),
        ({"events": 0}, "0 events requested of split 'train', which has 24."),
        (
            {"reads": Reads(POINT, neighbours=4)},
            "4 next neighbours requested, 3 staged. Stage",
        ),
        ({"split": "test"}, "no split 'test'; this store has train."),
    ],
)
def test_what_the_store_does_not_hold(store, asked, message):
    with pytest.raises(BadInput) as caught:
        Selection(**{"path": store, "split": "train", "reads": Reads(POINT)} | asked).open()
    assert str(store) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        (
            Reads(("time", "charge")),
            (
                "of experiment 'sphenix' with columns energy, eta, phi, r; this model reads "
                "time, charge. Give it another dataset, or another model."
            ),
        ),
        (Reads(POINT, most_points=10), "points; this model takes 10. Stage again with max_points"),
        (Reads(POINT, least_points=9), "points; this model takes 9 or more. Stage again with min"),
    ],
)
def test_a_model_that_does_not_fit_the_store(store, reads, message):
    with pytest.raises(BadInput) as caught:
        Selection(store, "train", reads).open()
    assert message in str(caught.value)


def test_more_neighbours_than_any_event_has(tmp_path):
    wide = write_store(tmp_path / "wide.zarr", neighbours=30)
    with pytest.raises(
        BadInput, match=r"30 next neighbours requested, and no event .* more than 1\d"
    ):
        Selection(wide, "train", Reads(POINT, neighbours=30)).open()


def test_columns_are_read_in_the_order_of_the_model(store):
    (forward,) = batches(store, 1, reads=Reads(POINT))
    (chosen,) = batches(store, 1, reads=Reads(("r", "eta")))
    assert torch.equal(chosen.points, forward.points[:, [3, 1]])


def test_a_store_without_truth(tmp_path):
    store = write_store(tmp_path / "plain.zarr", labelled=False)
    with pytest.raises(BadInput, match="split 'train' has no track_id, noise; it has"):
        Selection(store, "train", Reads(POINT, per_point=("track",))).load()


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no store here"):
        Selection(tmp_path / "none.zarr", "train", Reads(POINT)).load()


def test_a_store_s_hash_is_of_its_content_and_not_of_its_place(store, tmp_path):
    again = write_store(tmp_path / "again.zarr")
    other = write_store(tmp_path / "other.zarr", shards=(24,))
    stores = map(Store.open, (store, again, other))
    hashes = [each.manifest.content_sha256 for each in stores]
    assert hashes[0] == hashes[1] != hashes[2]


def test_columns_that_a_store_does_not_hold_are_made_of_those_it_holds(tmp_path):
    jets = write_jets(tmp_path / "jets")
    batch = read_batch(Selection(jets, "train", Reads(MADE, physical=True)))
    energy = column(jets, "points")[:, JETCLASS_COLUMNS.index("energy")]
    np.testing.assert_allclose(batch.points[:, 0], np.log(energy), rtol=1e-6)
    assert batch.points[:, 1].tolist() == column(jets, "species")[:, 4].tolist()


def test_shares_of_a_jet_are_of_the_momentum_that_the_store_has(tmp_path):
    jets = write_jets(tmp_path / "jets")
    reads = Reads(("logerel",), physical=True)
    energy = column(jets, "points")[:, JETCLASS_COLUMNS.index("energy")]
    sizes = np.diff(column(jets, "offsets"))
    whole = np.repeat(column(jets, "jet")[:, 3], sizes[sizes > 0])
    expected = np.clip((np.log(energy / whole) + 4.7) * 0.7, -5, 5)
    batch = read_batch(Selection(jets, "train", reads))
    np.testing.assert_allclose(batch.points[:, 0], expected, rtol=1e-5)
    trained = next(training_batches(
        Selection(jets, "train", reads), training(batch_events=12, devices=1), 1,
        rank=0, ranks=1, seen=0,
    ))  # fmt: skip
    of_all = set(np.float32(expected).tolist())
    assert len(of_all & set(trained[0].batch.points[:, 0].tolist())) > 12


def test_a_store_of_another_experiment_cannot_make_the_columns(store):
    reads = Reads(MADE, physical=True)
    with pytest.raises(BadInput, match="this model reads log_energy, isMuon"):
        Selection(store, "train", reads).open()
