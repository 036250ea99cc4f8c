import tracemalloc
from itertools import pairwise

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.readers import opened
from pipeline.data.readers.root_branches import Branch
from pipeline.data.readers.sphenix_root import REJECTIONS, open_root
from pipeline.data.simulation.sphenix_root import COUNTERS, TABLES, write_root


def read(path, *ranges):
    """Return the events of `path`, all or those of `ranges`, and how many were rejected."""
    with opened(path, SPHENIX) as entries:
        parts = [entries.read(*each) for each in ranges or [(0, entries.count)]]
    rejected = {name: sum(bad[name] for _, bad in parts) for name in REJECTIONS}
    return concatenate([found for found, _ in parts]), rejected


@pytest.fixture(scope="session")
def whole(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("root") / "whole.root"
    write_root(path, sample)
    return path


@pytest.fixture
def rewritten(whole, tmp_path):
    """Return a function that writes the whole file again with other branches."""

    def rewrite(change):
        with uproot.open(whole) as file:
            tree = file["T"]
            arrays = {each.name: each.array() for each in tree.branches if each.name[0] != "n"}
        change(arrays)
        path = tmp_path / "changed.root"
        tables = {}
        for table in COUNTERS:
            fields = {
                name.removeprefix(f"{table}_"): values
                for name, values in arrays.items()
                if name.startswith(f"{table}_")
            }
            if fields:
                tables[table] = ak.zip(fields)
        with uproot.recreate(path) as file:
            tree = file.mktree(
                "T",
                {name: each.type.content for name, each in tables.items()},
                counter_name=COUNTERS.__getitem__,
                field_name=lambda table, name: f"{table}_{name}",
            )
            tree.extend(tables)
        return path

    return rewrite


def set_value(arrays, branch, *, event, value):
    """Change the first value of `branch` in `event`."""
    columns = ak.to_list(arrays[branch])
    kind = arrays[branch].type.content.content.primitive
    columns[event][0] = value
    arrays[branch] = ak.values_astype(ak.Array(columns), kind)


def without_g4hits(arrays):
    for name in list(arrays):
        if "g4hit" in name:
            del arrays[name]


def test_a_sample_survives_the_round_trip(sample, whole):
    found, rejected = read(whole)
    assert rejected == dict.fromkeys(REJECTIONS, 0)
    np.testing.assert_array_equal(found.points, sample.events.points)
    np.testing.assert_array_equal(found.offsets, sample.events.offsets)
    for name, values in sample.events.per_point.items():
        np.testing.assert_array_equal(found.per_point[name], values)
        assert found.per_point[name].dtype == values.dtype


def test_the_tree_has_the_counters_of_the_tree_maker(whole):
    with uproot.open(whole) as file:
        names = set(file["T"].keys())
    assert set(COUNTERS.values()) <= names
    assert {"reco_cluster_g4hit_id", "reco_cluster_trcluster_id", "particle_primary_id"} <= names


def test_the_older_schema_gives_the_same_labels(sample, rewritten):
    found, rejected = read(rewritten(without_g4hits))
    assert sum(rejected.values()) == 0
    np.testing.assert_array_equal(found.per_point["track_id"], sample.events.per_point["track_id"])


def test_an_unmatched_cluster_of_the_older_schema_is_noise(rewritten):
    def change(arrays):
        without_g4hits(arrays)
        set_value(arrays, "reco_cluster_trcluster_id", event=2, value=0)

    found, rejected = read(rewritten(change))
    first = found.offsets[2]
    assert sum(rejected.values()) == 0
    assert found.per_point["noise"][first]
    assert found.per_point["track_id"][first] == found.per_point["pt_gev"][first] == 0


@pytest.mark.parametrize(
    ("branch", "value", "reason"),
    [
        ("reco_cluster_x", np.nan, "missing_reco_data"),
        ("reco_cluster_g4hit_id", 10**9, "missing_g4hits"),
        ("track_g4hit_trparticle_track_id", 10**6, "missing_particle_data"),
    ],
)
def test_faulty_events_are_dropped_and_counted(sample, rewritten, branch, value, reason):
    path = rewritten(lambda arrays: set_value(arrays, branch, event=3, value=value))
    found, rejected = read(path)
    assert rejected == {**dict.fromkeys(REJECTIONS, 0), reason: 1}
    assert found.event_id.tolist() == [each for each in range(20) if each != 3]
    kept = sample.events.select(np.arange(20) != 3)
    np.testing.assert_array_equal(found.points, kept.points)
    np.testing.assert_array_equal(found.per_point["track_id"], kept.per_point["track_id"])


def test_events_without_tpc_clusters_are_counted_and_other_detectors_left_out(rewritten):
    def change(arrays):
        detid = ak.to_list(arrays["reco_cluster_detid"])
        detid[4] = [0] * len(detid[4])
        detid[5][0] = 1
        arrays["reco_cluster_detid"] = ak.values_astype(ak.Array(detid), np.int32)

    found, rejected = read(rewritten(change))
    assert rejected["empty_tpc"] == 1
    assert 4 not in found.event_id


def test_repeated_ids_do_not_duplicate_clusters(sample, rewritten):
    def change(arrays):
        for name in list(arrays):
            if name.startswith("particle_"):
                arrays[name] = ak.concatenate([arrays[name], arrays[name]], axis=1)

    found, _ = read(rewritten(change))
    np.testing.assert_array_equal(found.points, sample.events.points)


def write_tables(path, blocks):
    """Write a tree of `blocks`, each a dictionary of ragged tables, one basket a branch each."""
    with uproot.recreate(path) as file:
        tree = file.mktree(
            "T",
            {name: each.type.content for name, each in blocks[0].items()},
            counter_name=COUNTERS.__getitem__,
            field_name=lambda table, name: f"{table}_{name}",
        )
        for block in blocks:
            tree.extend(block)


def tables_of(sample, start, stop):
    return {name: make(sample)[start:stop] for name, make in TABLES.items()}


@settings(deadline=None, max_examples=20)
@given(
    cuts=st.lists(st.integers(0, 20), max_size=5),
    baskets=st.lists(st.integers(1, 19), max_size=4, unique=True).map(sorted),
)
def test_any_rising_ranges_give_the_same_events(sample, tmp_path_factory, cuts, baskets):
    path = tmp_path_factory.mktemp("root") / "parts.root"
    limits = [0, *baskets, 20]
    write_tables(path, [tables_of(sample, *each) for each in pairwise(limits)])
    steps = sorted({*cuts, 20})
    found, rejected = read(path, *pairwise(steps), (20, 20))
    kept = sample.events.slice(steps[0], 20)
    assert sum(rejected.values()) == 0
    np.testing.assert_array_equal(found.points, kept.points)
    np.testing.assert_array_equal(found.offsets, kept.offsets)
    np.testing.assert_array_equal(found.event_id, kept.event_id)
    for name, values in kept.per_point.items():
        np.testing.assert_array_equal(found.per_point[name], values)


def test_a_range_can_be_read_again(sample, whole):
    with open_root(whole) as entries:
        for start, stop in [(8, 20), (0, 3), (2, 9), (2, 4)]:
            found, _ = entries.read(start, stop)
            np.testing.assert_array_equal(found.points, sample.events.slice(start, stop).points)


@pytest.mark.parametrize("limits", [[0, 20], [0, 7, 20], [0, 3, 6, 9, 20]], ids=str)
def test_no_basket_is_decoded_twice(sample, tmp_path, monkeypatch, limits):
    path = tmp_path / "baskets.root"
    write_tables(path, [tables_of(sample, *each) for each in pairwise(limits)])
    decoded = []
    decode = Branch._decoded
    monkeypatch.setattr(
        Branch,
        "_decoded",
        lambda branch, number: decoded.append((branch.name, number)) or decode(branch, number),
    )
    with open_root(path) as entries:
        for start in range(0, 20, 2):
            entries.read(start, start + 2)
    assert len(decoded) == len(set(decoded)) == 12 * (len(limits) - 1)


def test_memory_grows_with_the_range_and_one_basket(sample, tmp_path):
    path = tmp_path / "large.root"
    write_tables(path, [tables_of(sample, 0, 20)] * 40)
    tracemalloc.start()
    try:
        with open_root(path) as entries:
            for start in range(0, 40, 10):
                entries.read(start, start + 10)
            small = tracemalloc.get_traced_memory()[1]
            for start in range(40, 800, 10):
                entries.read(start, start + 10)
            large = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert large < 1.3 * small


def test_negative_energy_is_refused_with_file_and_count(rewritten):
    path = rewritten(lambda arrays: set_value(arrays, "reco_cluster_E", event=1, value=-5.0))
    with pytest.raises(BadInput, match=r"changed.root: 1 of \d+ points have negative energy"):
        read(path)


def test_branches_of_different_length_are_refused(tmp_path, sample):
    columns = {
        f"{table}_{name}": values[name]
        for table, values in tables_of(sample, 0, 3).items()
        for name in values.fields
    }
    columns["reco_cluster_x"] = columns["reco_cluster_x"][:, :-1]
    path = tmp_path / "odd.root"
    with uproot.recreate(path) as file:
        file.mktree("T", {name: each.type.content for name, each in columns.items()}).extend(
            columns
        )
    with pytest.raises(BadInput, match=r"reco_cluster_E and reco_cluster_x .* differ in length"):
        read(path)


def test_a_missing_branch_is_named(rewritten):
    path = rewritten(lambda arrays: arrays.pop("particle_px"))
    with pytest.raises(BadInput, match="no branch particle_px"):
        read(path)


def test_clusters_of_data_have_no_truth(whole, rewritten):
    def of_data(arrays):
        for name in [each for each in arrays if not each.startswith("reco_cluster_")]:
            del arrays[name]
        del arrays["reco_cluster_g4hit_id"], arrays["reco_cluster_trcluster_id"]

    found, rejected = read(rewritten(of_data))
    labelled, _ = read(whole)
    assert found.per_point == {}
    assert np.array_equal(found.points, labelled.points)
    assert rejected == dict.fromkeys(REJECTIONS, 0)


def test_a_missing_tree_is_refused(tmp_path):
    path = tmp_path / "other.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": np.float32}).extend({"x": np.ones(3, np.float32)})
    with pytest.raises(BadInput, match=r"no TTree 'T', only Events \(TTree\)"):
        read(path)


def test_a_tree_without_events_is_refused(sample, tmp_path):
    path = tmp_path / "none.root"
    write_tables(path, [tables_of(sample, 0, 0)])
    with pytest.raises(BadInput, match="holds no events"):
        read(path)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(whole, tmp_path, share):
    content = whole.read_bytes()
    path = tmp_path / "truncated.root"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match=r"truncated.root: not a whole ROOT file"):
        read(path)


def test_a_file_with_damaged_content_is_refused(whole, tmp_path):
    content = bytearray(whole.read_bytes())
    content[len(content) // 4 : len(content) // 2] = b"\0" * (len(content) // 2 - len(content) // 4)
    path = tmp_path / "damaged.root"
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match="not a whole ROOT file"):
        read(path)
