import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pulses import SENSORS, batch, geometry, pulses, read, same

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments import experiment
from pipeline.data.experiments.icecube import companions
from pipeline.data.readers import opened
from pipeline.data.readers.kaggle import batch_meta
from pipeline.data.readers.kaggle_write import meta_of, write_batch, write_meta

SIZES = [5, 0, 9, 1, 0, 0, 30, 2]


@pytest.fixture
def made():
    return pulses(SIZES)


def refused(path, message):
    with pytest.raises(BadInput, match=message) as failure:
        read(path, "icecube")
    assert "\n" not in str(failure.value)
    return str(failure.value)


def rewritten(path, **columns):
    """Replace columns of the parquet file `path`; None drops one."""
    table = pq.read_table(path)
    arrays = dict(zip(table.column_names, table.columns, strict=True)) | columns
    pq.write_table(
        pa.table({name: each for name, each in arrays.items() if each is not None}), path
    )


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    step=st.integers(1, 12),
    rows=st.integers(1, 60),
    seed=st.integers(0, 1000),
)
def test_what_goes_in_comes_out_in_any_ranges(tmp_path_factory, sizes, step, rows, seed):
    written = pulses(sizes, seed=seed)
    path = batch(tmp_path_factory.mktemp("batch"), written, row_group_rows=rows)
    found = concatenate(read(path, "icecube", step))
    same(found, written)
    assert found.per_event["pulses"].dtype == np.int32
    assert found.per_event["pulses"].tolist() == sizes


def test_a_range_may_start_anywhere(tmp_path, made):
    path = batch(tmp_path, made, row_group_rows=7)
    with opened(path, experiment("icecube")) as entries:
        for start, stop in [(6, 8), (2, 4), (3, 7), (0, 8), (4, 6)]:
            same(entries.read(start, stop)[0], made.slice(start, stop))


def test_without_truth_events_are_told_by_their_id(tmp_path, made):
    path = batch(tmp_path, made, meta=False, row_group_rows=4)
    (found,) = read(path, "icecube")
    kept = made.select(made.sizes > 0)
    np.testing.assert_array_equal(found.points, kept.points)
    np.testing.assert_array_equal(found.offsets, kept.offsets)
    np.testing.assert_array_equal(
        found.per_event["source_event_id"], kept.per_event["source_event_id"]
    )
    assert not {"azimuth", "zenith"} & set(found.per_event)


def test_truth_without_directions_gives_no_directions(tmp_path, made):
    path = batch(tmp_path, made)
    rewritten(tmp_path / "train_meta.parquet", azimuth=None, zenith=None)
    (found,) = read(path, "icecube")
    assert set(found.per_event) == {"source_event_id", "total_charge", "pulses"}
    assert len(found) == len(SIZES)


def test_truth_and_geometry_may_lie_beside_the_batch(tmp_path, made):
    path = batch(tmp_path, made)
    for name in ("train_meta.parquet", "sensor_geometry.csv"):
        (tmp_path / name).rename(path.with_name(name))
    same(read(path, "icecube")[0], made)
    assert {(path.parent / name).name for name in companions(str(path))} == {
        "train_meta.parquet",
        "sensor_geometry.csv",
    }


def test_angles_keep_the_width_of_the_file(tmp_path, made):
    path = batch(tmp_path, made)
    azimuth = pa.array(made.per_event["azimuth"].astype(np.float32))
    rewritten(tmp_path / "train_meta.parquet", azimuth=azimuth)
    per_event = read(path, "icecube")[0].per_event
    assert (per_event["azimuth"].dtype, per_event["zenith"].dtype) == (np.float32, np.float64)


def test_the_last_sensors_survive_which_half_precision_would_damage(tmp_path):
    written = pulses([4])
    written.per_point["sensor_id"][:] = [5159, 5158, 2049, 0]
    (found,) = read(batch(tmp_path, written), "icecube")
    assert found.per_point["sensor_id"].tolist() == [5159, 5158, 2049, 0]
    assert found.per_point["sensor_id"].dtype == np.uint16
    assert int(np.float16(5159)) != 5159


def test_auxiliary_is_true_for_the_worse_pulses_as_in_the_file(tmp_path, made):
    path = batch(tmp_path, made)
    (found,) = read(path, "icecube")
    in_file = pq.read_table(path).column("auxiliary").to_numpy()
    np.testing.assert_array_equal(found.per_point["auxiliary"], in_file)


def test_the_total_charge_is_that_of_all_pulses(tmp_path, made):
    (found,) = read(batch(tmp_path, made), "icecube")
    charge = made.column("charge").astype(np.float64)
    expected = [charge[a:b].sum() for a, b in zip(made.offsets, made.offsets[1:], strict=False)]
    np.testing.assert_array_equal(found.per_event["total_charge"], np.float32(expected))


def test_the_geometry_is_a_table_of_the_dataset(tmp_path, made):
    with opened(batch(tmp_path, made), experiment("icecube")) as entries:
        assert entries.tables["geometry"].dtype == np.float32
        np.testing.assert_array_equal(entries.tables["geometry"], geometry().astype(np.float32))


def test_pandas_finds_the_index_of_the_competition(tmp_path, made):
    frame = pd.read_parquet(batch(tmp_path, made))
    assert frame.index.name == "event_id"
    assert frame.dtypes.astype(str).to_dict() == {
        "sensor_id": "int16",
        "time": "int64",
        "charge": "float64",
        "auxiliary": "bool",
    }


def test_a_batch_that_pandas_wrote_is_read(tmp_path, made):
    path = batch(tmp_path, made)
    pd.read_parquet(path).to_parquet(path)
    same(read(path, "icecube")[0], made)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sensor_id", "int32"), ("time", "float64"), ("charge", "float32"), ("auxiliary", "int8")],
)
def test_other_widths_of_the_same_numbers_are_read(tmp_path, made, name, kind):
    path = batch(tmp_path, made)
    rewritten(path, **{name: pq.read_table(path).column(name).to_numpy().astype(kind)})
    same(read(path, "icecube")[0], made)


def test_the_truth_of_other_batches_is_left_out(tmp_path, made):
    path = batch(tmp_path, made)
    several = [meta_of(pulses([3, 2], seed=each), each) for each in (5, 6)]
    table = pa.concat_tables([*several, meta_of(made, 7), meta_of(pulses([8]), 8)])
    for rows in (1, 3, 100):
        pq.write_table(table, tmp_path / "train_meta.parquet", row_group_size=rows)
        same(read(path, "icecube")[0], made)
    pq.write_table(table, tmp_path / "train_meta.parquet", write_statistics=False)
    assert len(batch_meta(tmp_path / "train_meta.parquet", 5)["event_id"]) == 2


def test_events_with_a_pulse_without_charge_are_counted(tmp_path, made):
    made.points[made.offsets[2] : made.offsets[2] + 2, 1] = 0
    path = batch(tmp_path, made)
    with opened(path, experiment("icecube")) as entries:
        found, rejected = entries.read(0, entries.count)
    assert rejected == {"no_charge": 1}
    assert found.event_id.tolist() == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_batch_is_refused(tmp_path, share):
    path = batch(tmp_path, pulses([300]))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "not a whole parquet file")


def test_damage_inside_a_batch_is_noticed(tmp_path):
    path = batch(tmp_path, pulses([3000]))
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(bytes(content))
    refused(path, "not a whole parquet file")


def test_a_missing_column_is_named(tmp_path, made):
    path = batch(tmp_path, made)
    rewritten(path, charge=None)
    refused(path, "no column charge, only sensor_id, time, auxiliary, event_id")


def test_missing_values_and_text_are_refused(tmp_path, made):
    path = batch(tmp_path, made)
    rewritten(path, charge=pa.array([None] * 47, pa.float64()))
    refused(path, "charge lacks 47 of 47 values")
    rewritten(path, charge=pa.array(["1"] * 47))
    refused(path, "charge is string; expected numbers")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time", 2**24 + 1, "time holds 16777217, which float32 cannot hold exactly"),
        ("time", 2**53 + 1, "which float32 cannot hold exactly"),
        ("sensor_id", -1, "sensor_id holds -1, which uint16 cannot hold exactly"),
        ("sensor_id", 0.5, "sensor_id holds 0.5"),
        ("sensor_id", SENSORS, "sensor_id 5160, but sensor_geometry.csv ends with sensor 5159"),
        ("auxiliary", 2, "auxiliary holds 2, which bool cannot hold exactly"),
        ("charge", 1e39, "charge holds 1e\\+39, which is beyond float32"),
        ("charge", np.nan, "NaN or infinity"),
    ],
)
def test_values_that_would_not_survive_are_refused(tmp_path, made, name, value, message):
    path = batch(tmp_path, made)
    values = pq.read_table(path).column(name).to_numpy()
    values = values.astype(np.float64 if isinstance(value, float) else np.int64)
    values[3] = value
    rewritten(path, **{name: values})
    refused(path, message)


def test_without_geometry_nothing_is_read(tmp_path, made):
    path = batch(tmp_path, made)
    (tmp_path / "sensor_geometry.csv").unlink()
    refused(path, "no sensor_geometry.csv beside it or in the folder above")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensor_id,x,y\n0,1,2\n", "not a table of sensors"),
        ("sensor_id,x,y,z\n0,1,2,here\n", "not a table of sensors"),
        ("sensor_id,x,y,z\n0,1,2,3\n2,1,2,3\n", "sensor_id is not 0 to 1, each once"),
    ],
)
def test_a_geometry_that_is_none_is_refused(tmp_path, made, text, message):
    path = batch(tmp_path, made)
    (tmp_path / "sensor_geometry.csv").write_text(text)
    assert "sensor_geometry.csv" in refused(path, message)


def test_pulses_of_an_event_that_are_apart_are_refused(tmp_path, made):
    path = batch(tmp_path, made, meta=False)
    rewritten(path, event_id=pa.array([1] * 20 + [2] * 20 + [1] * 7))
    refused(path, "event_id 1 comes more than once")


def test_truth_of_other_events_is_refused(tmp_path, made):
    path = batch(tmp_path, made)
    meta = tmp_path / "train_meta.parquet"
    rewritten(meta, event_id=pa.array(500 + np.arange(len(SIZES))))
    refused(path, "pulse 0 is of event 11, but by its meta file of event 500")
    rewritten(meta, event_id=pa.array(np.full(len(SIZES), 11)))
    refused(path, "event_id 11 comes more than once")


def test_truth_of_another_number_of_pulses_is_refused(tmp_path, made):
    path = batch(tmp_path, made)
    write_meta(tmp_path / "train_meta.parquet", meta_of(made.slice(0, 3), 7))
    refused(path, "of batch 7 have 14 pulses, but batch_7.parquet has 47")
    write_batch(path, made.slice(0, 2))
    refused(path, "of batch 7 have 14 pulses, but batch_7.parquet has 5")


def test_truth_with_a_gap_is_refused(tmp_path, made):
    path = batch(tmp_path, made)
    rewritten(tmp_path / "train_meta.parquet", first_pulse_index=pa.array(made.offsets[:-1] + 1))
    refused(path, "do not follow each other from 0 on")


def test_truth_without_the_batch_is_refused(tmp_path, made):
    path = batch(tmp_path, made)
    write_meta(tmp_path / "train_meta.parquet", meta_of(made, 8))
    refused(path, "no event of batch 7")


def test_a_name_without_a_number_is_refused(tmp_path, made):
    path = batch(tmp_path, made)
    refused(path.rename(path.with_name("seven.parquet")), "expected a name like batch_7.parquet")


def test_nothing_temporary_stays(tmp_path, made):
    path = batch(tmp_path, made)
    path.with_name(f".{path.name}.999.tmp").write_text("half")
    write_batch(path, made)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
