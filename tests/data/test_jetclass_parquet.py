from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_jets import branches, expected

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments.jetclass import FLAGS, JETCLASS2
from pipeline.data.readers import opened

REAL = Path(__file__).parents[2].parent / "shared/data/jetclass2_100jets.parquet"
SIZES = [5, 1, 0, 7, 3, 2, 0, 4]


def read_all(path, step=4096, start=0):
    with opened(path, JETCLASS2) as entries:
        some = [
            entries.read(first, min(first + step, entries.count))
            for first in range(start, entries.count, step)
        ]
    return concatenate([events for events, _ in some]), [bad for _, bad in some]


def columns(sizes, seed=0):
    """Return the columns of JetClass-II: lists of its types, and labels 0, 7, 14 … below 188."""
    flat, jets = branches(sizes, seed=seed)
    flat["part_charge"] = flat["part_charge"].astype(np.int32)
    flat |= {name: flat[name].astype(np.bool_) for name in FLAGS}
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    lists = {
        name: pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
        for name, values in flat.items()
    }
    jets = {name: values for name, values in jets.items() if not name.startswith("label")}
    jets["jet_nparticles"] = jets["jet_nparticles"].astype(np.int32)
    jets["jet_label"] = (np.arange(len(sizes)) * 7 % 188).astype(np.int32)
    return {**lists, **{name: pa.array(values) for name, values in jets.items()}}


@pytest.fixture
def made(tmp_path):
    """Return a function that writes jets, changed first, and gives the path."""

    def make(**changes):
        table = pa.table({**columns(SIZES), **changes})
        pq.write_table(table, tmp_path / "made.parquet", row_group_size=3)
        return tmp_path / "made.parquet"

    return make


@pytest.fixture(scope="module")
def real():
    if not REAL.exists():
        pytest.skip(f"no real jets: {REAL} is not there")
    return read_all(REAL)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=25),
    group=st.integers(1, 30),
    step=st.integers(1, 30),
    begin=st.floats(0, 1, exclude_max=True),
)
def test_lists_come_out_as_they_went_in(tmp_path, sizes, group, step, begin):
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table(columns(sizes)), path, row_group_size=group)
    first = int(begin * len(sizes))
    events, rejected = read_all(path, step, first)
    flat, jets = branches(sizes)
    skip = int(np.sum(sizes[:first]))
    points, charge, species = (each[skip:] for each in expected(flat))
    np.testing.assert_array_equal(events.points, points)
    np.testing.assert_array_equal(events.sizes, sizes[first:])
    np.testing.assert_array_equal(events.event_id, np.arange(first, len(sizes)))
    np.testing.assert_array_equal(events.per_point["charge"], charge, strict=True)
    np.testing.assert_array_equal(events.per_point["species"], species, strict=True)
    label = (np.arange(len(sizes)) * 7 % 188).astype(np.int16)[first:]
    np.testing.assert_array_equal(events.per_event["label"], label, strict=True)
    np.testing.assert_array_equal(events.per_event["jet"][:, 1], jets["jet_eta"][first:])
    assert not any(sum(bad.values()) for bad in rejected)


def test_a_jet_of_another_count_is_rejected(made):
    events, rejected = read_all(made(jet_nparticles=pa.array([5, 1, 0, 7, 3, 2, 1, 4], pa.int32())))
    assert rejected == [{"wrong_particle_count": 1, "jet_not_finite": 0}]
    assert events.event_id.tolist() == [0, 1, 2, 3, 4, 5, 7]


def test_ranges_need_not_begin_at_the_first_jet(made):
    with opened(made(), JETCLASS2) as entries:
        whole = entries.read(0, 8)[0]
        for start, stop in ((5, 6), (7, 8), (1, 3), (3, 8)):
            some = entries.read(start, stop)[0]
            np.testing.assert_array_equal(some.points, whole.slice(start, stop).points)
            assert some.event_id.tolist() == list(range(start, stop))


def lists(values, sizes=SIZES):
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *sizes]), pa.int32()), pa.array(values))


BAD = {
    "doubles": ({"part_px": lists(np.zeros(22))}, "part_px holds list"),
    "numbers for lists": ({"part_px": pa.array(np.zeros(8, np.float32))}, "part_px holds float"),
    "NaN": ({"part_px": lists(np.full(22, np.nan, np.float32))}, "hold NaN or infinity"),
    "other lengths": (
        {"part_pz": lists(np.zeros(22, np.float32), SIZES[::-1])},
        "part_pz and part_px have other lengths",
    ),
    "nothing in place of a jet": (
        {"part_py": pa.array([[1.0]] * 7 + [None], pa.list_(pa.float32()))},
        "column part_py lacks 1 values",
    ),
    "nothing in place of a particle": (
        {"part_isMuon": lists(pa.array([None] + [True] * 21))},
        "column part_isMuon lacks 1 values",
    ),
    "a class too many": ({"jet_label": pa.array([188] * 8)}, "other values than 0 to 187"),
    "a class of no number": ({"jet_label": pa.array([0.5] * 8)}, "other values than 0 to 187"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_of_lists_is_told(made, changes, message):
    path = made(**changes)
    with pytest.raises(BadInput, match=r"made\.parquet: ") as told:
        read_all(path)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_column_is_told(tmp_path):
    table = pa.table(columns(SIZES)).drop_columns(["part_dzerr", "jet_tau4"])
    pq.write_table(table, tmp_path / "less.parquet")
    with pytest.raises(
        BadInput, match=r"no column part_dzerr, jet_tau4, only .* Expected a file of JetC"
    ):
        read_all(tmp_path / "less.parquet")


def test_jets_of_no_known_class_have_no_label(tmp_path):
    whole = pa.table(columns(SIZES))
    pq.write_table(whole, tmp_path / "whole.parquet")
    pq.write_table(whole.drop_columns(["jet_label"]), tmp_path / "data.parquet")
    labelled, found = (read_all(tmp_path / f"{name}.parquet")[0] for name in ("whole", "data"))
    assert found.per_event.keys() == labelled.per_event.keys() - {"label"}
    assert np.array_equal(found.points, labelled.points)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_truncated_file_of_lists_is_told(made, share):
    path = made()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match=r"not a whole parquet file"):
        read_all(path)


def test_a_damaged_page_is_told(made):
    path = made()
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(bytes(content))
    with pytest.raises(BadInput, match=r"not a whole parquet file"):
        read_all(path)


def test_a_file_without_jets_is_told(tmp_path):
    pq.write_table(pa.table(columns(SIZES)).slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(BadInput, match=r"holds no events"):
        read_all(tmp_path / "none.parquet")


def test_real_jets_are_read_whole(real):
    events, rejected = real
    assert rejected == [{"wrong_particle_count": 0, "jet_not_finite": 0}]
    assert (len(events), len(events.points)) == (100, 4529)
    assert (events.sizes.min(), events.sizes.max()) == (2, 82)
    assert len(np.unique(events.per_event["label"])) == 60
    assert (events.per_point["species"].sum(axis=1) == 1).all()
    neutral = events.per_point["charge"] == 0
    assert not events.column("d0err")[neutral].any()
    assert set(events.per_event) == {"label", "jet", "jet_sdmass", "jet_tau"}


def test_real_constituents_sum_to_the_jet_across_the_beam(real):
    """Along the beam the file's own jets differ, by up to 0.09 in η: Delphes made them so."""
    events, _ = real
    sums = np.add.reduceat(events.points[:, :4].astype(np.float64), events.offsets[:-1])
    pt, eta, phi, energy = events.per_event["jet"].T
    np.testing.assert_allclose(np.hypot(sums[:, 0], sums[:, 1]), pt, rtol=1e-5)
    turn = np.arctan2(sums[:, 1], sums[:, 0]) - phi
    assert np.abs(np.angle(np.exp(1j * turn))).max() < 1e-5
    assert np.abs(np.arcsinh(sums[:, 2] / pt) - eta).max() < 0.1
    np.testing.assert_allclose(sums[:, 3], energy, rtol=0.05)


def test_real_deta_is_mirrored_so_that_jets_lie_forward(real):
    events, _ = real
    px, py, pz = events.points[:, :3].astype(np.float64).T
    eta = np.repeat(events.per_event["jet"][:, 1].astype(np.float64), events.sizes)
    expected_deta = (np.arcsinh(pz / np.hypot(px, py)) - eta) * np.sign(eta)
    np.testing.assert_allclose(events.column("deta"), expected_deta, atol=1e-5)
