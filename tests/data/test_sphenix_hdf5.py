import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import stage_task

from pipeline.data.errors import BadInput
from pipeline.data.experiments.sphenix import POSITIONS, SPHENIX
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.stage import STAGE
from pipeline.data.store import Store

LISTED = {"ptid": [1, 2, -3, -4], "ppid": [211, -2212, 11, 321], "pt": [1.5, 0.2, 0.05, 0.07]}


def clusters(count, seed=0, *, energy=False):
    """Return the clusters of one event, all in the TPC, and the particles 1, 2, -3 to -5, 7, 0."""
    rng = np.random.default_rng(seed)
    columns = {
        "cid": rng.integers(2**40, 2**63, count, np.uint64),
        **{name: rng.uniform(31, 75, count).astype(np.float32) for name in "xyz"},
        "detid": np.full(count, 2, np.int32),
        "ptid": rng.choice(np.array([1, 2, -3, -4, -5, 7, 0], np.int32), count),
    }
    if energy:
        columns["E"] = rng.uniform(10, 900, count).astype(np.float32)
    return pd.DataFrame(columns)


def particles():
    frame = pd.DataFrame({name: np.array(values) for name, values in LISTED.items()})
    frame = frame.astype({"ptid": np.int32, "ppid": np.int32})
    return frame.assign(cids=[[1, 2]] * len(frame), x=[[0.5, 1.0]] * len(frame))


def dump(path, shape="fixed", **frames):
    """Write one event as the tree maker's script does."""
    seeds = pd.DataFrame({"sid": np.arange(2), "cids": [[1], [2, 3]]})
    asked = {"clusters": clusters(9), "seeds": seeds, "particles": particles(), **frames}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)  # lists are pickled
        with pd.HDFStore(path, mode="w", complevel=9, complib="blosc") as store:
            for name, frame in asked.items():
                if frame is not None:
                    store.put(name, frame, format=shape if name == "clusters" else "fixed")
    return path


def read(path, kind=POSITIONS):
    with opened(path, kind) as entries:
        assert entries.count == 1
        return entries.read(0, 1)


@settings(deadline=None, max_examples=15)
@given(
    count=st.integers(1, 40),
    seed=st.integers(0, 99),
    shape=st.sampled_from(["fixed", "table"]),
    energy=st.booleans(),
)
def test_a_dump_survives_the_round_trip(tmp_path_factory, count, seed, shape, energy):
    frame = clusters(count, seed, energy=energy)
    path = tmp_path_factory.mktemp("hdf5") / "data_event_3.h5"
    found, rejected = read(dump(path, shape, clusters=frame))
    assert rejected == {"empty_tpc": 0, "missing_reco_data": 0}
    names = ["E", "x", "y", "z"] if energy else ["x", "y", "z"]
    np.testing.assert_array_equal(found.points, frame[names].to_numpy())
    assert found.columns[-3:] == ("x", "y", "z")
    assert found.offsets.tolist() == [0, count]
    assert {name: values.dtype.name for name, values in found.per_point.items()} == {
        "track_id": "int32",
        "pid": "int8",
        "noise": "bool",
        "pt_gev": "float32",
    }
    truth = {1: (1, 1, 1.5), 2: (2, 3, 0.2), -3: (0, 4, 0.05), -4: (-4, 2, 0.07), 7: (7, 0, 0)}
    expected = [truth.get(each, (0, 0, 0)) for each in frame["ptid"].tolist()]
    labels = found.per_point
    np.testing.assert_allclose(
        np.column_stack([labels["track_id"], labels["pid"], labels["pt_gev"]]), expected, rtol=1e-6
    )
    np.testing.assert_array_equal(labels["noise"], labels["track_id"] == 0)


@pytest.mark.parametrize("shape", ["fixed", "table"])
def test_other_detectors_are_left_out(tmp_path, shape):
    frame = clusters(5)
    frame["detid"] = np.array([0, 2, 2, 3, 2], np.int32)
    found, _ = read(dump(tmp_path / "a.h5", shape, clusters=frame))
    np.testing.assert_array_equal(found.points, frame.loc[[1, 2, 4], ["x", "y", "z"]])


@pytest.mark.parametrize("frame", [clusters(0), clusters(3).assign(detid=np.int32(1))])
def test_an_event_without_clusters_of_the_tpc_is_counted(tmp_path, frame):
    found, rejected = read(dump(tmp_path / "a.h5", clusters=frame))
    assert len(found) == 0
    assert rejected == {"empty_tpc": 1, "missing_reco_data": 0}


def test_an_event_with_incomplete_clusters_is_counted(tmp_path):
    frame = clusters(5)
    frame.loc[2, "x"] = np.nan
    found, rejected = read(dump(tmp_path / "a.h5", clusters=frame))
    assert len(found) == 0
    assert rejected == {"empty_tpc": 0, "missing_reco_data": 1}


def test_without_listed_particles_momenta_are_unknown(tmp_path):
    found, _ = read(dump(tmp_path / "a.h5", particles=particles()[:0]))
    assert not found.per_point["pt_gev"].any()
    assert (found.per_point["track_id"] >= 0).all()


def test_repeated_particles_do_not_duplicate_clusters(tmp_path):
    twice = pd.concat([particles(), particles().assign(pt=9.0)])
    found, _ = read(dump(tmp_path / "a.h5", particles=twice))
    assert len(found.points) == 9
    assert found.per_point["pt_gev"].max() < 9


def test_a_dump_of_data_has_no_truth(tmp_path):
    without = clusters(9).drop(columns="ptid")
    whole, _ = read(dump(tmp_path / "whole.h5"))
    found, _ = read(dump(tmp_path / "data.h5", clusters=without, particles=None))
    assert found.per_point == {}
    assert np.array_equal(found.points, whole.points)


def test_pickled_objects_are_never_opened(tmp_path, monkeypatch):
    path = dump(tmp_path / "a.h5", "table")

    def refuse(*_, **__):
        raise AssertionError

    for name in ("loads", "load"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    assert len(read(path)[0]) == 1


def test_a_dump_without_energies_is_not_taken_for_one_with(tmp_path):
    events, _ = read(dump(tmp_path / "a.h5"), SPHENIX)
    with pytest.raises(BadInput, match=r"a.h5: the clusters have no energy.*'sphenix-positions'"):
        SPHENIX.transform(events)
    events, _ = read(dump(tmp_path / "b.h5", clusters=clusters(4, energy=True)), SPHENIX)
    assert SPHENIX.transform(events).columns == ("energy", "eta", "phi", "r")
    assert POSITIONS.transform(events).columns == ("eta", "phi", "r")


def test_dumps_are_staged(tmp_path):
    paths = [
        dump(tmp_path / f"data_event_{number}.h5", clusters=clusters(20, number))
        for number in range(3)
    ]
    folder, task = stage_task(
        tmp_path, {"train": paths}, experiment="sphenix-positions", order="hilbert", neighbours=2
    )
    for step in ("--begin", "--part 0", "--part 1", "--part 2", "--finish"):
        assert run(STAGE, [str(folder.path), *step.split()]) == 0
    shards = [each.read() for each in Store.open(task.store).shards("train")]
    assert [len(each["points"]) for each in shards] == [20, 20, 20]
    assert shards[0]["points"].shape[1] == 3
    assert shards[0]["track_id"].dtype == np.int32


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"clusters": None}, "no frame 'clusters', only particles, seeds"),
        ({"particles": None}, "no frame 'particles'"),
        ({"clusters": clusters(3).drop(columns="ptid")}, "'clusters' has no column ptid, only cid"),
        ({"particles": particles().drop(columns=["pt"])}, "'particles' has no column pt,"),
        ({"clusters": clusters(3).astype({"ptid": float})}, "ptid or ppid are float64"),
        ({"clusters": clusters(3).assign(ptid=2**40)}, "expected whole 32-bit ids"),
    ],
)
@pytest.mark.parametrize("shape", ["fixed", "table"])
def test_what_is_no_dump_is_refused(tmp_path, frames, message, shape):
    with pytest.raises(BadInput, match=message) as failure:
        read(dump(tmp_path / "data_event_1.h5", shape, **frames))
    assert "data_event_1.h5" in str(failure.value)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_dump_is_refused(tmp_path, share):
    path = dump(tmp_path / "a.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match=r"a.h5: not a whole HDF5 dump"):
        read(path)


def test_hdf5_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["clusters"] = np.ones(3)
    with pytest.raises(BadInput, match=r"a.hdf5: not a whole HDF5 dump"):
        read(path)
