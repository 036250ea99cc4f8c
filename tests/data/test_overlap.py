"""Events of one store that are in another one: counted by what they are, against their content."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import events, store
from made_pulses import batch, pulses

from pipeline import records
from pipeline.data import training_data
from pipeline.data.errors import BadInput
from pipeline.data.overlap import EventSet, disjoint, event_set, interval, overlap
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.splits import split_of
from pipeline.data.training_data import TrainingData, gathered, of_split, overlaps

SIZES = [20 + number % 7 for number in range(40)]
PLAIN = {"neighbours": 0, "order": "file", "events_per_shard": 16}
MOSTLY = {"train": 0.7, "test": 0.3}
HALVES = {"train": 0.5, "test": 0.5}


def made(folder, *numbers):
    """Write one small file for each of `numbers`, which alone decide its content."""
    paths = [folder / f"spacepoints_{number}.npz" for number in numbers]
    for number, path in zip(numbers, paths, strict=True):
        if not path.exists():
            write_npz(path, events(SIZES, seed=number), labelled=False)
    return paths


def contents(found, split):
    """Return the first point of each event of a split, which tells events by their content."""
    firsts = []
    for shard in found.shards(split):
        arrays = shard.read(("points", "offsets"))
        firsts += map(tuple, arrays["points"][arrays["offsets"][:-1]].tolist())
    return set(firsts)


def trained_on(found, split):
    return event_set(found.manifest, found.path, split, "pretrain/made")


def counted(one, split, other, other_split):
    """Return what is found to be in both, after a check that it is so by content."""
    found = overlap(trained_on(one, split), other, other_split)
    truly = len(contents(one, split) & contents(other, other_split))
    assert (found.events if found is not None else 0) == truly
    return found


def test_equal_fractions_share_no_event_between_splits(tmp_path):
    one = store(tmp_path, {"x": made(tmp_path, 1, 2)}, name="one", fractions=MOSTLY, **PLAIN)
    other = store(tmp_path, {"x": made(tmp_path, 3, 2)}, name="two", fractions=MOSTLY, **PLAIN)
    assert counted(one, "train", other, "test") is None
    assert counted(one, "train", other, "train").events > 20


def test_other_fractions_share_an_interval_of_the_hash(tmp_path):
    one = store(tmp_path, {"x": made(tmp_path, 1, 2)}, name="one", fractions=MOSTLY, **PLAIN)
    other = store(tmp_path, {"x": made(tmp_path, 3, 2)}, name="two", fractions=HALVES, **PLAIN)
    found = counted(one, "train", other, "test")
    assert found.files == (str(tmp_path / "spacepoints_2.npz"),)
    assert (found.split, found.of, found.exact) == ("test", other.events("test"), True)
    assert found.sentence == (
        f"{found.events} of {found.of} events of two, split 'test', are among those that "
        f"pretrain/made was trained on (one, split 'train'), in {tmp_path}/spacepoints_2.npz"
    )
    assert counted(other, "train", one, "test") is None


def test_splits_of_files_share_the_files_by_any_name(tmp_path):
    one, two, three = made(tmp_path, 1, 2, 3)
    copy = tmp_path / "elsewhere" / "a.npz"
    copy.parent.mkdir()
    shutil.copy(two, copy)
    ours = store(tmp_path, {"train": [one, two]}, name="one", **PLAIN)
    theirs = store(tmp_path, {"train": [three], "test": [copy]}, name="two", **PLAIN)
    found = counted(ours, "train", theirs, "test")
    assert (found.events, found.of, found.files) == (40, 40, (str(copy),))
    assert counted(ours, "train", theirs, "train") is None
    dealt = store(tmp_path, {"x": [three, copy]}, name="three", fractions=MOSTLY, **PLAIN)
    assert counted(ours, "train", dealt, "test").events < 40
    assert counted(dealt, "test", theirs, "test").events < 40


def test_events_that_a_store_left_out_are_not_counted_there(tmp_path):
    one = store(tmp_path, {"train": made(tmp_path, 1)}, name="one", **PLAIN)
    other = store(tmp_path, {"test": made(tmp_path, 1)}, name="two", min_points=24, **PLAIN)
    found = counted(one, "train", other, "test")
    assert found.events == found.of == sum(size >= 24 for size in SIZES)


@given(
    cuts=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6, unique=True),
    others=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6, unique=True),
)
def test_splits_are_disjoint_if_and_only_if_no_hash_falls_into_both(cuts, others):
    def fractions(places):
        ends = [0.0, *sorted(places), 1.0]
        return {f"s{n}": high - low for n, (low, high) in enumerate(pairwise(ends))}

    one, other = fractions(cuts), fractions(others)
    ids = np.arange(4000)
    index, other_index = split_of(ids, one), split_of(ids, other)
    for n, split in enumerate(one):
        for m, other_split in enumerate(other):
            shared = np.any((index == n) & (other_index == m))
            assert not (shared and disjoint(one, split, other, other_split))
            low, high = interval(one, split)
            start, stop = interval(other, other_split)
            if min(high, stop) - max(low, start) > 0.01:
                assert not disjoint(one, split, other, other_split)
    assert not disjoint({}, "train", one, "s0")


ICE = {"experiment": "icecube", "neighbours": 0, "events_per_shard": 5}


def ice(tmp_path, name, **changes):
    """Return the path of 24 numbered events, 3 apart; those of `changes` are written anew."""
    path = batch(tmp_path / name, pulses([9, 14, 5] * 8, **changes))
    pq.write_table(pq.read_table(path), path, compression="gzip")
    return path


def test_numbered_events_are_compared_by_their_numbers(tmp_path):
    """Of two files that share 16 of 24 events, whatever their bytes."""
    one = store(tmp_path, {"train": [ice(tmp_path, "a", first_id=0)]}, name="one", **ICE)
    late = store(tmp_path, {"test": [ice(tmp_path, "b", first_id=24)]}, name="two", **ICE)
    found = overlap(trained_on(one, "train"), late, "test")
    assert (found.events, found.of, found.exact) == (16, 24, True)
    between = store(tmp_path, {"test": [ice(tmp_path, "c", first_id=1)]}, name="three", **ICE)
    assert overlap(trained_on(one, "train"), between, "test") is None
    far = store(tmp_path, {"test": [ice(tmp_path, "d", first_id=900)]}, name="four", **ICE)
    assert overlap(trained_on(one, "train"), far, "test") is None


def test_without_the_store_of_the_training_ranges_bound_the_overlap(tmp_path):
    one = store(tmp_path, {"train": [ice(tmp_path, "a", first_id=0)]}, name="one", **ICE)
    late = store(tmp_path, {"test": [ice(tmp_path, "b", first_id=25)]}, name="two", **ICE)
    trained = trained_on(one, "train")
    assert overlap(trained, late, "test") is None
    shutil.rmtree(one.path)
    found = overlap(trained, late, "test")
    assert (found.events, found.exact) == (15, False)
    assert found.sentence.startswith("up to 15 of 24 events of two")


def test_numbered_events_dealt_by_equal_fractions_share_none(tmp_path):
    paths = [ice(tmp_path, name, first_id=first) for name, first in (("a", 0), ("b", 24))]
    one, other = (
        store(tmp_path, {"x": [path]}, name=path.parents[1].name, fractions=HALVES, **ICE)
        for path in paths
    )
    assert overlap(trained_on(one, "train"), other, "test") is None
    assert overlap(trained_on(one, "train"), other, "train").events > 0


def test_a_file_whose_events_two_stores_name_differently_counts_whole(tmp_path):
    path = ice(tmp_path, "a", first_id=0)
    one = store(tmp_path, {"x": [path]}, name="one", fractions=HALVES, **ICE)
    by_place = {**ICE, "event_key": "file", "fractions": HALVES}
    other = store(tmp_path, {"x": [path]}, name="two", **by_place)
    found = overlap(trained_on(one, "train"), other, "test")
    assert (found.events, found.exact) == (other.events("test"), False)


@pytest.fixture
def known(tmp_path):
    """A store, and the record of a training on it."""
    found = store(tmp_path, {"train": made(tmp_path, 1), "test": made(tmp_path, 2)}, **PLAIN)
    return found, of_split(found, "train", "pretrain/a")


def test_a_record_is_what_was_written(tmp_path, known):
    training_data.write(tmp_path / "a", known[1])
    assert records.read(tmp_path / "a" / training_data.RECORD, TrainingData) == known[1]
    (events_of,) = gathered(tmp_path / "a").events
    assert isinstance(events_of, EventSet)
    assert [Path(each.path).name for each in events_of.files] == ["spacepoints_1.npz"]


def test_what_parents_have_seen_is_gathered_once(tmp_path, known):
    found, data = known
    a, b, c = (tmp_path / name for name in "abc")
    training_data.write(a, data)
    training_data.write(b, of_split(found, "test", "tokenize/b", (a,)))
    training_data.write(c, TrainingData(events=data.events, parents=(a, b), unknown=("x",)))
    whole = gathered(c, b)
    assert [each.task for each in whole.events] == ["pretrain/a", "tokenize/b"]
    assert whole.unknown == ("x",)
    assert [each.task for each in overlaps(whole, found, "test")] == ["tokenize/b"]


def test_a_training_that_goes_on_has_seen_both(tmp_path, known):
    found, data = known
    training_data.add(tmp_path / "a", data)
    training_data.add(tmp_path / "a", data)
    training_data.add(tmp_path / "a", of_split(found, "test", "pretrain/a"))
    assert [each.split for each in gathered(tmp_path / "a").events] == ["train", "test"]


def test_weights_from_elsewhere_without_a_record_are_unknown(tmp_path):
    (tmp_path / "theirs").mkdir()
    assert gathered(tmp_path / "theirs").unknown == (str(tmp_path / "theirs"),)


def test_a_training_of_an_older_version_is_refused(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "task.toml").write_text("")
    with pytest.raises(BadInput) as told:
        gathered(tmp_path / "old")
    assert f"{tmp_path}/old: no training-data.json: an older version trained it" in str(told.value)
    assert f"Train it again: rm -r {tmp_path}/old" in str(told.value)


def test_events_that_two_files_number_alike_are_refused(tmp_path, capsys):
    """An experiment's numbers must tell events apart within a store, too."""
    paths = [ice(tmp_path, name, first_id=0, seed=n) for n, name in enumerate("ab")]
    with pytest.raises(AssertionError):
        store(tmp_path, {"train": paths}, **ICE)
    message = capsys.readouterr().err
    assert f"24 events are in {paths[0]} and {paths[1]} by their source_event_id" in message
    assert 'or write event_key = "file" if the events differ.' in message
    assert store(tmp_path, {"train": paths}, name="two", event_key="file", **ICE).manifest.events
