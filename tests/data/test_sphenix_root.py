import awkward as ak
import numpy as np
import pytest
import uproot

from pipeline.data import sphenix_root
from pipeline.data.errors import BadInput
from pipeline.data.readers import read
from pipeline.data.simulation.sphenix_root import COUNTERS, write_root


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
    assert rejected == dict.fromkeys(sphenix_root.REJECTIONS, 0)
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
    assert rejected == {**dict.fromkeys(sphenix_root.REJECTIONS, 0), reason: 1}
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


def test_blocks_of_entries_join_to_the_same_events(sample, whole, monkeypatch):
    monkeypatch.setattr(sphenix_root, "BLOCK_EVENTS", 7)
    found, _ = read(whole)
    np.testing.assert_array_equal(found.points, sample.events.points)
    np.testing.assert_array_equal(found.event_id, np.arange(20))


def test_negative_energy_is_refused_with_file_and_count(rewritten):
    path = rewritten(lambda arrays: set_value(arrays, "reco_cluster_E", event=1, value=-5.0))
    with pytest.raises(BadInput, match=r"changed.root: 1 of \d+ points have negative energy"):
        read(path)


def test_a_missing_branch_is_named(rewritten):
    path = rewritten(lambda arrays: arrays.pop("particle_px"))
    with pytest.raises(BadInput, match="no branch particle_px"):
        read(path)


def test_a_missing_tree_is_refused(tmp_path):
    path = tmp_path / "other.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": np.float32}).extend({"x": np.ones(3, np.float32)})
    with pytest.raises(BadInput, match="no tree 'T', only Events"):
        read(path)


def test_a_tree_without_events_is_refused(tmp_path):
    path = tmp_path / "none.root"
    with uproot.recreate(path) as file:
        file.mktree("T", {"x": np.float32})
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
