from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_events import stage_task

from pipeline.data.errors import BadInput
from pipeline.data.events import Events, concatenate, offsets_of
from pipeline.data.experiments.omnilearned import OMNILEARNED
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.readers.omnilearned_h5 import NAMES, from_four_vectors, write_h5
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.outcome import Exit

REAL = Path(__file__).parents[2].parent / "shared/data/top_tagging_2000jets.npz"
SIZES = [3, 0, 5, 1]


def jets(sizes, *, seed=0, features=2):
    """Return jets with all that the format can hold; a third of their particles have 1 GeV."""
    rng = np.random.default_rng(seed)
    count, points = len(sizes), int(np.sum(sizes))
    columns = rng.normal(size=(points, 4)).astype(np.float32)
    columns[::3, 2] = 1e-8  # how the format holds ln 1
    extra = rng.normal(size=(points, features)).astype(np.float32)
    return Events(
        source="made",
        columns=NAMES,
        points=columns,
        offsets=offsets_of(np.asarray(sizes)),
        event_id=np.arange(count),
        per_point={
            **({"features": extra} if features else {}),
            "data_pid": rng.integers(-300, 300, points).astype(np.int32),
        },
        per_event={
            "label": rng.integers(0, 210, count).astype(np.int32),
            "globals": rng.normal(size=(count, 3)).astype(np.float32),
        },
    )


def read_all(path, step=4096, start=0):
    with opened(path, OMNILEARNED) as entries:
        return concatenate(
            [
                entries.read(first, min(first + step, entries.count))[0]
                for first in range(start, entries.count, step)
            ]
        )


def same(found, wanted):
    np.testing.assert_array_equal(found.points, wanted.points, strict=True)
    np.testing.assert_array_equal(found.sizes, wanted.sizes)
    for table in ("per_point", "per_event"):
        assert set(getattr(found, table)) == set(getattr(wanted, table))
        for name, values in getattr(wanted, table).items():
            np.testing.assert_array_equal(getattr(found, table)[name], values, strict=True)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    features=st.integers(0, 3),
    spare=st.integers(0, 4),
    step=st.integers(1, 25),
    begin=st.floats(0, 1, exclude_max=True),
)
def test_padding_goes_on_and_off_again(tmp_path, sizes, features, spare, step, begin):
    wanted = jets(sizes, features=features)
    path = tmp_path / "padded.h5"
    write_h5(path, wanted, length=max([1, *sizes]) + spare)
    first = int(begin * len(sizes))
    found = read_all(path, step, first)
    assert found.event_id.tolist() == list(range(first, len(sizes)))
    same(found, wanted.slice(first, len(sizes)))


def test_the_file_has_omnilearneds_layout(tmp_path):
    write_h5(tmp_path / "jets.h5", jets(SIZES), length=7)
    with h5py.File(tmp_path / "jets.h5") as file:
        assert {name: each.shape for name, each in file.items()} == {
            "data": (4, 7, 6),
            "pid": (4,),
            "global": (4, 3),
            "data_pid": (4, 7),
        }
        there = file["data"][:, :, 2] != 0
    assert there.sum(axis=1).tolist() == SIZES
    assert [path.name for path in tmp_path.iterdir()] == ["jets.h5"]


def test_a_particle_of_1_gev_is_not_taken_for_padding(tmp_path):
    one = jets([2])
    one.points[:, 2] = 0
    write_h5(tmp_path / "one.h5", one)
    found = read_all(tmp_path / "one.h5")
    assert found.sizes.tolist() == [2]
    assert (np.exp(found.column("log_pt")) == 1).all()


def test_gaps_among_particles_are_no_particles(tmp_path):
    data = np.zeros((2, 4, 4), np.float64)
    data[0, [0, 3], 2] = [2, 1]
    with h5py.File(tmp_path / "gaps.h5", "w") as file:
        file["data"] = data
    found = read_all(tmp_path / "gaps.h5")
    assert found.sizes.tolist() == [2, 0]
    assert found.column("log_pt").tolist() == [2, 1]
    assert (found.per_point, found.per_event) == ({}, {})


def test_a_four_vector_becomes_what_the_format_asks():
    vectors = np.array([[3, 4, 0, 13], [3, -4, 0, 6], [0, 1, 1, 2]], np.float32)
    events = from_four_vectors(vectors, np.array([2, 1, 0]), np.array([1, 0, 1]))
    angle = np.arctan2(4, 3)
    wanted = [
        [0, angle, np.log(5), np.log(13)],
        [0, -angle, np.log(5), np.log(6)],
        [0, 0, 0, np.log(2)],
    ]
    np.testing.assert_allclose(events.points, wanted, atol=1e-6)
    whole = [[6, 0, np.sqrt(19**2 - 36), 0.02], [1, np.arcsinh(1), np.sqrt(2), 0.01], [0, 0, 0, 0]]
    np.testing.assert_allclose(events.per_event["globals"], whole, rtol=1e-6)
    assert events.per_event["label"].tolist() == [1, 0, 1]


def test_real_top_jets_enter_by_this_door(tmp_path):
    if not REAL.exists():
        pytest.skip(f"no real jets: {REAL} is not there")
    with np.load(REAL) as file:
        vectors, label = file["vectors"], file["labels"]
    there = vectors[:, 3] > 0
    flat = vectors.transpose(0, 2, 1)[there]
    made = from_four_vectors(flat, there.sum(axis=1), label)
    write_h5(tmp_path / "top.h5", made)
    found = read_all(tmp_path / "top.h5", step=700)
    same(found, made)
    assert found.per_event["label"].sum() == label.sum() == 940
    np.testing.assert_allclose(
        np.exp(found.column("log_pt")), np.hypot(flat[:, 0], flat[:, 1]), rtol=1e-5
    )


def test_jets_of_a_users_own_are_staged(tmp_path):
    write_h5(tmp_path / "own.h5", jets(SIZES))
    folder, task = stage_task(
        tmp_path, {"train": (tmp_path / "own.h5",)}, experiment="omnilearned", neighbours=0
    )
    steps = ("--begin", "--part=0", "--finish")
    assert [run(STAGE, [str(folder.path), step]) for step in steps] == [Exit.FINISHED] * 3
    (shard,) = [each.read() for each in Store.open(task.store).shards("train")]
    wanted = jets(SIZES).select(np.array(SIZES) > 0)
    for name, values in {**wanted.per_point, **wanted.per_event, "points": wanted.points}.items():
        np.testing.assert_array_equal(shard[name], values, strict=True)


def test_a_large_set_keeps_its_hardest_particles():
    large = jets([4])
    large.points[:, 2] = [1, 3, 2, 3]
    kept, rejected = OMNILEARNED.limit(large, 2)
    assert kept.column("log_pt").tolist() == [3, 3]
    assert rejected == {"shortened": 1}


def test_a_jet_longer_than_the_padding_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(BadInput, match=r"made: a jet has 5 particles, more than length 4"):
        write_h5(tmp_path / "short.h5", jets(SIZES), length=4)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.writing.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_h5(tmp_path / "full.h5", jets(SIZES))
    assert not list(tmp_path.iterdir())


DATA = np.ones((3, 5, 4), np.float32)
BAD = {
    "no data": ({"jets": DATA}, "no dataset 'data', only jets. Expected OmniLearned's layout"),
    "a flat array": ({"data": DATA[0]}, "data is float32 (5, 4); expected floats (jets, particles"),
    "too few columns": ({"data": DATA[:, :, :3]}, "data is float32 (3, 5, 3); expected floats"),
    "whole numbers": ({"data": DATA.astype(np.int32)}, "data is int32 (3, 5, 4); expected floats"),
    "labels of fewer jets": ({"data": DATA, "pid": np.zeros(2)}, "pid has shape (2,); expected (3"),
    "flat conditions": ({"data": DATA, "global": np.zeros(3)}, "global has shape (3,); expected"),
    "kinds of fewer": ({"data": DATA, "data_pid": np.zeros((3, 4))}, "data_pid has shape (3, 4)"),
    "half a class": ({"data": DATA, "pid": np.full(3, 0.5)}, "pid holds 0.5, which int32 cannot"),
    "NaN": ({"data": DATA * np.float32(np.nan)}, "hold NaN or infinity"),
    "no jets": ({"data": DATA[:0]}, "holds no events"),
}


@pytest.mark.parametrize(("contents", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_of_sets_is_told(tmp_path, contents, message):
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        for name, values in contents.items():
            file[name] = values
    with pytest.raises(BadInput, match=r"bad\.h5: ") as told:
        read_all(tmp_path / "bad.h5")
    assert message in str(told.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
def test_a_truncated_file_of_sets_is_told(tmp_path, share):
    path = tmp_path / "cut.h5"
    write_h5(path, jets([9] * 500))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match=r"not a whole HDF5 file|the file is empty"):
        read_all(path)


def test_a_damaged_chunk_is_told(tmp_path):
    path = tmp_path / "flipped.h5"
    write_h5(path, replace(jets([9] * 500), per_point={}))
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 40 : place + 90] = bytes(50)
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match=r"not a whole HDF5 file"):
        read_all(path)
