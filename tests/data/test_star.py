from itertools import pairwise

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import stage_task

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments.star import STAR
from pipeline.data.preparation.bins import read_bins
from pipeline.data.preparation.serialise import Preparation, normal, serialise
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.stage import STAGE
from pipeline.data.store import Store


def hits(sizes, seed=0):
    """Return the ragged columns of events with `sizes` hits, in the types of the real file."""
    rng = np.random.default_rng(seed)
    count = int(np.sum(sizes))
    r, phi = rng.uniform(59.7, 194.2, count), rng.uniform(-np.pi, np.pi, count)
    columns = {
        "x": r * np.cos(phi),
        "y": r * np.sin(phi),
        "z": rng.uniform(-210, 210, count),
        "q": rng.exponential(10, count),
        "adc": rng.integers(14, 8595, count).astype(np.int32),
        "pad": rng.integers(3, 180, count).astype(np.int32),
        "row": rng.integers(1, 46, count).astype(np.int32),
        "sector": rng.integers(1, 25, count).astype(np.int32),
        "timebucket": rng.integers(111, 11484, count) / 32,
        "IdTruth": rng.integers(1, 8, count).astype(np.int32),
    }
    return {f"TPCHits_{name}": ak.unflatten(values, sizes) for name, values in columns.items()}


def write(path, columns, limits=None, tree="T"):
    """Write a tree of ragged `columns`, with the counters that uproot gives each."""
    with uproot.recreate(path) as file:
        made = file.mktree(tree, {name: each.type.content for name, each in columns.items()})
        count = len(next(iter(columns.values())))
        for start, stop in pairwise(limits or [0, count]):
            made.extend({name: each[start:stop] for name, each in columns.items()})
    return path


def read(path, *ranges):
    with opened(path, STAR) as entries:
        parts = [entries.read(*each) for each in ranges or [(0, entries.count)]]
    assert all(rejected == {} for _, rejected in parts)
    return concatenate([found for found, _ in parts])


def flat(columns, name):
    return ak.to_numpy(ak.flatten(columns[f"TPCHits_{name}"]))


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=2, max_size=8),
    cut=st.integers(1, 7),
    basket=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_hits_survive_the_round_trip(tmp_path_factory, sizes, cut, basket, seed):
    columns, count = hits(sizes, seed), len(sizes)
    limits = sorted({0, min(basket, count), count})
    path = write(tmp_path_factory.mktemp("star") / "hits.root", columns, limits)
    found = read(path, (0, min(cut, count)), (min(cut, count), count))
    assert found.sizes.tolist() == sizes
    assert found.event_id.tolist() == list(range(count))
    for column, name in {"energy": "adc", "x": "x", "y": "y", "z": "z"}.items():
        expected = flat(columns, name).astype(np.float32)
        np.testing.assert_array_equal(found.column(column), expected)
    kinds = {"track_id": "int32", "pad": "int16", "row": "int8", "sector": "int8"}
    kinds |= {"timebucket": "float32", "charge": "float32"}
    assert {name: each.dtype.name for name, each in found.per_point.items()} == kinds
    names = {"track_id": "IdTruth", "charge": "q"}
    for name in ("track_id", "pad", "row", "sector", "timebucket"):
        expected = flat(columns, names.get(name, name))
        np.testing.assert_array_equal(found.per_point[name], expected)
    charge = flat(columns, "q").astype(np.float32)
    np.testing.assert_array_equal(found.per_point["charge"], charge)


def test_hits_are_staged_in_voxel_order_with_neighbours(tmp_path):
    path = write(tmp_path / "hits.root", hits([50, 0, 30, 116]))
    folder, task = stage_task(
        tmp_path, {"train": [path]}, experiment="star", bins=(2, 2, 4), order="REP", neighbours=3
    )
    for step in ("--begin", "--part 0", "--finish"):
        assert run(STAGE, [str(folder.path), *step.split()]) == 0
    store = Store.open(task.store)
    assert store.manifest.rejected == {"empty": 1}
    bins = read_bins(task.store / "bins.json")
    assert bins.edges[2][2] == pytest.approx((125 - 50) / 150, abs=0.01)  # the middle of the gap
    whole = read(path)
    asked = Preparation(STAR, "REP", neighbours=3, bins=bins)
    events, neighbours = serialise(whole.select(whole.sizes > 0), asked)
    (shard,) = [each.read() for each in store.shards("train")]
    np.testing.assert_array_equal(shard["points"], events.points)
    np.testing.assert_array_equal(shard["neighbours"], neighbours)
    for name, values in events.per_point.items():
        np.testing.assert_array_equal(shard[name], values)
        assert shard[name].dtype == values.dtype


def test_the_chamber_fills_the_unit_cube(tmp_path):
    found = normal(STAR.transform(read(write(tmp_path / "a.root", hits([4000])))), STAR)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (np.ptp(found, axis=0) > 0.85).all()


@pytest.mark.parametrize(("branch", "value"), [("row", 200), ("sector", -129), ("pad", 40_000)])
def test_a_number_beyond_its_type_is_refused(tmp_path, branch, value):
    columns = hits([4])
    columns[f"TPCHits_{branch}"] = ak.values_astype(ak.Array([[1, 2, value, 4]]), np.int32)
    with pytest.raises(BadInput, match=rf"a.root: TPCHits_{branch} holds {value}, which int"):
        read(write(tmp_path / "a.root", columns))


def test_a_charge_beyond_its_type_is_refused(tmp_path):
    columns = hits([2])
    columns["TPCHits_q"] = ak.Array([[1.0, 1e300]])
    with pytest.raises(BadInput, match=r"a.root: TPCHits_q holds 1e\+300, which is beyond float32"):
        read(write(tmp_path / "a.root", columns))


@pytest.mark.parametrize("value", [np.nan, 1e300])
def test_a_hit_without_place_is_refused(tmp_path, value):
    columns = hits([2])
    columns["TPCHits_x"] = ak.Array([[value, 1.0]])
    with pytest.raises(BadInput, match=r"a.root: 1 of 2 points hold NaN"):
        read(write(tmp_path / "a.root", columns))


def test_a_missing_branch_is_named(tmp_path):
    columns = hits([2])
    del columns["TPCHits_pad"]
    with pytest.raises(BadInput, match=r"a.root: tree 'T' has no branch TPCHits_pad"):
        read(write(tmp_path / "a.root", columns))


def test_hits_of_data_have_no_truth(tmp_path):
    columns = hits([2, 3])
    whole = read(write(tmp_path / "whole.root", columns))
    del columns["TPCHits_IdTruth"]
    found = read(write(tmp_path / "data.root", columns))
    assert found.per_point.keys() == whole.per_point.keys() - {"track_id"}
    assert np.array_equal(found.points, whole.points)


def test_another_tree_is_refused(tmp_path):
    with pytest.raises(
        BadInput, match=r"no TTree 'T', only hits \(TTree\). Expected a file of a STAR"
    ):
        read(write(tmp_path / "a.root", hits([2]), tree="hits"))


def test_branches_that_differ_in_length_are_refused(tmp_path):
    columns = hits([2, 3])
    columns["TPCHits_pad"] = ak.values_astype(ak.Array([[1, 2, 3], [4, 5]]), np.int32)
    with pytest.raises(BadInput, match=r"TPCHits_adc and TPCHits_pad of tree 'T' differ in length"):
        read(write(tmp_path / "a.root", columns))


@pytest.mark.parametrize("share", [0.01, 0.4, 0.95])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = write(tmp_path / "a.root", hits([50, 60]))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match=r"a.root: not a whole ROOT file"):
        read(path)
