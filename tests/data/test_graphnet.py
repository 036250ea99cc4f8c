import sqlite3
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pulses import read, same, shared

from pipeline.data.errors import BadInput
from pipeline.data.events import concatenate
from pipeline.data.experiments import experiment
from pipeline.data.experiments.graphnet import GRAPHNET, companions
from pipeline.data.preparation.serialise import Preparation, serialise
from pipeline.data.readers import opened

PULSE = ("dom_x", "dom_y", "dom_z", "dom_time", "charge", "string", "dom_number", "hlc", "event_no")
TRUTH = ("energy", "azimuth", "zenith", "pid", "event_no")
INDEX = "CREATE INDEX pulse_event ON SRTInIcePulses (event_no)"


def tables(sizes, *, seed=0, first=3):
    """Return columns of a table of pulses and one of truth; event_no is first, first + 4, …"""
    rng = np.random.default_rng(seed)
    count, events = int(np.sum(sizes)), len(sizes)
    event_no = first + 4 * np.arange(events)
    pulses = {name: rng.integers(-4000, 4000, count) / 8 for name in PULSE[:4]}
    pulses["charge"] = rng.integers(1, 900, count) / 40
    pulses["string"] = rng.integers(1, 87, count)
    pulses["dom_number"] = rng.integers(1, 61, count)
    pulses["hlc"] = rng.integers(0, 2, count)
    pulses["event_no"] = np.repeat(event_no, sizes)
    truth = {name: rng.random(events) for name in TRUTH[:3]}
    truth["pid"] = rng.choice([-14, 12, 16], events)
    truth["event_no"] = event_no
    return pulses, truth


def database(path, *, indexed=True, key=True, order=None, **contents):
    """Write tables, name to columns, as a database; `order` shuffles the pulses' rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, columns in contents.items():
            kinds = [
                f"{name} {'INTEGER PRIMARY KEY' if key and table == 'truth' else ''}"
                if name == "event_no"
                else f"{name} FLOAT"
                for name in columns
            ]
            connection.execute(f"CREATE TABLE {table} ({', '.join(kinds)})")
            rows = list(zip(*(each.tolist() for each in columns.values()), strict=True))
            if order is not None and table != "truth":
                rows = [rows[place] for place in order]
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        if indexed and "SRTInIcePulses" in contents:
            connection.execute(INDEX)
    return path


def nested(path, pulses, truth, rows=1 << 20):
    """Write tables as a file with a row for each event."""
    starts = np.searchsorted(pulses["event_no"], np.sort(truth["event_no"]))
    offsets = np.append(starts, len(pulses["event_no"])).astype(np.int32)
    lists = {
        name: pa.ListArray.from_arrays(offsets, pa.array(values))
        for name, values in pulses.items()
        if name != "event_no"
    }
    scalars = {name: pa.array(values) for name, values in truth.items()}
    columns = {
        "SRTInIcePulses": pa.StructArray.from_arrays([*lists.values()], [*lists]),
        "truth": pa.StructArray.from_arrays([*scalars.values()], [*scalars]),
    }
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def flat(folder, pulses, truth=None, rows=1 << 20):
    """Write tables as two flat files; return the pulses'."""
    for name, columns in {"SRTInIcePulses": pulses, "truth": truth}.items():
        path = folder / name / f"{name}_3.parquet"
        path.parent.mkdir(exist_ok=True)
        if columns is not None:
            pq.write_table(pa.table(columns), path, row_group_size=rows)
    return folder / "SRTInIcePulses" / "SRTInIcePulses_3.parquet"


def check(found, pulses, truth, sizes):
    names = ("dom_x", "dom_y", "dom_z", "dom_time", "charge")
    points = np.column_stack([pulses[name] for name in names]).astype(np.float32)
    np.testing.assert_array_equal(found.points, points)
    assert found.sizes.tolist() == list(sizes)
    assert found.event_id.tolist() == list(range(len(sizes)))
    kinds = {"string": np.int32, "dom_number": np.int16, "hlc": np.int8}
    assert {name: each.dtype for name, each in found.per_point.items()} == kinds
    for name in kinds:
        np.testing.assert_array_equal(found.per_point[name], pulses[name])
    for name in TRUTH:
        ours = "source_event_id" if name == "event_no" else name
        np.testing.assert_array_equal(found.per_event[ours], truth[name])
    assert found.per_event["pid"].dtype == np.int32
    assert found.per_event["source_event_id"].dtype == np.int64
    charge = pulses["charge"].astype(np.float32).astype(np.float64)
    total = [each.sum() for each in np.split(charge, np.cumsum(sizes)[:-1])]
    np.testing.assert_array_equal(found.per_event["total_charge"], np.float32(total))


def refused(path, message, name="graphnet"):
    with pytest.raises(BadInput, match=message) as failure:
        read(path, name)
    assert "\n" not in str(failure.value)
    assert str(path.parent.parent) in str(failure.value)


SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=9)


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES, step=st.integers(1, 9), indexed=st.booleans(), shuffled=st.booleans())
def test_databases_come_back_in_any_ranges(tmp_path_factory, sizes, step, indexed, shuffled):
    pulses, truth = tables(sizes)
    order = np.arange(len(pulses["event_no"]))
    if shuffled:  # events are spread over the table
        order = np.random.default_rng(0).permutation(order)
    path = tmp_path_factory.mktemp("sqlite") / "made.db"
    database(path, indexed=indexed, key=indexed, order=order, SRTInIcePulses=pulses, truth=truth)
    found = concatenate(read(path, "graphnet", step))
    order = order[np.argsort(pulses["event_no"][order], kind="stable")]
    pulses = {name: each[order] for name, each in pulses.items()}
    check(found, pulses, truth, sizes)


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES, step=st.integers(1, 9), rows=st.integers(1, 9))
def test_nested_files_come_back_in_any_ranges(tmp_path_factory, sizes, step, rows):
    pulses, truth = tables(sizes)
    path = nested(tmp_path_factory.mktemp("nested") / "made.parquet", pulses, truth, rows)
    check(concatenate(read(path, "graphnet", step)), pulses, truth, sizes)


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES, silent=st.integers(0, 3), step=st.integers(1, 9), rows=st.integers(1, 9))
def test_flat_files_come_back_in_any_ranges(tmp_path_factory, sizes, silent, step, rows):
    sizes = [*(size + 1 for size in sizes), *[0] * silent]  # events without pulses come last
    pulses, truth = tables(sizes)
    path = flat(tmp_path_factory.mktemp("flat"), pulses, truth, rows)
    check(concatenate(read(path, "graphnet", step)), pulses, truth, sizes)


def test_the_real_database_and_the_real_file_hold_the_same_events():
    (one,) = read(shared("icecube_5events.db"), "graphnet")
    (other,) = read(shared("icecube_5events.parquet"), "graphnet")
    same(one, other)
    assert one.sizes.tolist() == [9, 9, 12, 11, 15]
    assert one.per_event["pid"].tolist() == [14, 14, -14, -14, 14]
    assert one.per_point["string"].max() <= 86
    assert one.per_point["dom_number"].max() <= 60


@pytest.mark.parametrize("step", [1, 7, 50])
def test_the_real_prometheus_database_is_read(step):
    path = shared("prometheus_50events.db")
    found = concatenate(read(path, "prometheus", step))
    assert (len(found), len(found.points)) == (50, 1872)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT sensor_pos_x, sensor_pos_y, sensor_pos_z, t, sensor_id, sensor_string_id"
        rows = np.array(connection.execute(f"{query} FROM total ORDER BY event_no").fetchall())
        truth = "injection_energy, injection_azimuth, injection_zenith, injection_type, event_no"
        events = np.array(
            connection.execute(f"SELECT {truth} FROM mc_truth ORDER BY event_no").fetchall()
        )
    np.testing.assert_array_equal(found.points, rows[:, :4].astype(np.float32))
    np.testing.assert_array_equal(found.per_point["sensor_id"], rows[:, 4])
    np.testing.assert_array_equal(found.per_point["string"], rows[:, 5])
    names = ("energy", "azimuth", "zenith", "pid", "source_event_id")
    np.testing.assert_array_equal(
        np.column_stack([found.per_event[name] for name in names]), events
    )


def test_prometheus_own_files_are_read(tmp_path):
    lists = [[1.0, 2.0], [], [3.0]]
    photons = {f"sensor_pos_{axis}": lists for axis in "xyz"}
    photons |= {"t": [[5.5, 4.5], [], [6.5]], "sensor_id": [[7, 8], [], [9]]}
    photons["string_id"] = [[70, 80], [], [90]]
    truth = {f"initial_state_{name}": [0.5, 1.5, 2.5] for name in ("energy", "azimuth", "zenith")}
    truth["initial_state_type"] = [14, -12, 16]
    path = tmp_path / "7_photons.parquet"
    columns = {
        "mc_truth": pa.StructArray.from_arrays(
            [pa.array(each) for each in truth.values()], [*truth]
        ),
        "photons": pa.StructArray.from_arrays(
            [pa.array(each) for each in photons.values()], [*photons]
        ),
    }
    pq.write_table(pa.table(columns), path)
    (found,) = read(path, "prometheus")
    assert found.sizes.tolist() == [2, 0, 1]
    assert found.column("time").tolist() == [5.5, 4.5, 6.5]
    assert found.per_point["string"].tolist() == [70, 80, 90]
    assert found.per_event["pid"].tolist() == [14, -12, 16]
    assert found.per_event["zenith"].tolist() == [0.5, 1.5, 2.5]
    assert "source_event_id" not in found.per_event
    settings = Preparation(experiment("prometheus"), experiment("prometheus").order)
    assert serialise(found, settings)[0].column("time").tolist() == [4.5, 5.5, 6.5]


def test_a_key_that_some_frames_lack_is_unknown_there(tmp_path):
    pulses, truth = tables([2, 1, 3])
    truth = {name: each.astype(object) for name, each in truth.items()}
    truth["energy"][1] = truth["pid"][1] = None
    path = database(tmp_path / "made.db", SRTInIcePulses=pulses, truth=truth)
    known = {name: pa.array(each.tolist()) for name, each in truth.items()}
    other = flat(tmp_path, pulses, known)
    third = nested(tmp_path / "made.parquet", pulses, {**truth, **known})
    for each in (path, other, third):
        (found,) = read(each, "graphnet")
        assert np.isnan(found.per_event["energy"]).tolist() == [False, True, False]
        assert found.per_event["pid"][1] == 0
        assert found.per_event["pid"].dtype == np.int32


def test_a_frame_without_the_struct_is_an_empty_event(tmp_path):
    pulses, truth = tables([2, 0, 3])
    path = nested(tmp_path / "made.parquet", pulses, truth)
    table = pq.read_table(path)
    struct = table.column(0).chunk(0)
    masked = pa.StructArray.from_arrays(
        struct.flatten(), fields=list(struct.type), mask=pa.array([False, True, False])
    )
    pq.write_table(table.set_column(0, "SRTInIcePulses", masked), path)
    check(read(path, "graphnet")[0], pulses, truth, [2, 0, 3])


def test_without_truth_events_are_those_with_pulses(tmp_path):
    pulses, _ = tables([2, 0, 3])
    path = database(tmp_path / "made.db", SRTInIcePulses=pulses)
    for each in (path, flat(tmp_path, pulses)):
        (found,) = read(each, "graphnet")
        assert found.per_event["source_event_id"].tolist() == [3, 11]
        assert set(found.per_event) == {"source_event_id", "pulses", "total_charge"}


def test_truth_lies_beside_the_folder_of_pulses():
    assert companions("merged/total/total_12.parquet") == (
        "../truth/truth_12.parquet",
        "../mc_truth/mc_truth_12.parquet",
    )
    assert companions("made.db") == ()


def test_events_that_come_twice_are_named(tmp_path):
    pulses, truth = tables([2, 1, 3, 1])
    truth["event_no"] = np.array([3, 7, 11, 7])
    message = "event_no 7 comes more than once"
    path = database(tmp_path / "made.db", key=False, SRTInIcePulses=pulses, truth=truth)
    refused(path, message)
    refused(nested(tmp_path / "made.parquet", pulses, truth), message)
    pulses["event_no"] = np.array([3, 3, 7, 11, 11, 11, 7])
    refused(flat(tmp_path, pulses), message)
    path = flat(tmp_path, tables([2, 1, 3])[0], truth)
    with pytest.raises(BadInput, match=f"truth_3.parquet: {message}"):
        read(path, "graphnet")


def test_pulses_without_truth_are_refused(tmp_path):
    pulses, truth = tables([2, 1, 3])
    truth = {name: each[:2] for name, each in truth.items()}
    path = database(tmp_path / "made.db", SRTInIcePulses=pulses, truth=truth)
    refused(path, "event_no 11 has pulses in SRTInIcePulses, but no row in truth")
    refused(flat(tmp_path, pulses, truth), "event_no 11 has pulses, but no row in")


def test_several_tables_of_pulses_are_listed(tmp_path):
    pulses, truth = tables([2, 1])
    path = tmp_path / "made.db"
    database(path, SRTInIcePulses=pulses, SplitInIcePulses=pulses, truth=truth)
    refused(
        path, "several tables of pulses: SRTInIcePulses, SplitInIcePulses. Choose one: reader = "
    )
    for name in ("SRTInIcePulses", "SplitInIcePulses"):
        with opened(path, GRAPHNET.choosing({"pulses": name})) as entries:
            assert entries.count == 2
    with (
        pytest.raises(
            BadInput, match=r"'Pulses' holds no pulses; tables that do: SRTInIcePulses, "
        ),
        opened(path, GRAPHNET.choosing({"pulses": "Pulses"})),
    ):
        pass


def test_an_option_that_no_reader_knows_is_told():
    with pytest.raises(BadInput, match=r"reader.table: graphnet has no such option.*know: pulses"):
        GRAPHNET.choosing({"table": "x"})


def test_a_file_without_pulses_is_refused(tmp_path):
    _, truth = tables([2, 1])
    path = database(tmp_path / "made.db", truth=truth)
    refused(path, "no table of pulses among truth. Expected one, as in GraphNeT's files")
    path = flat(tmp_path, tables([1])[0], truth)
    refused(path.parents[1] / "truth" / "truth_3.parquet", "no table of pulses among truth")


def test_what_is_no_database_is_refused(tmp_path):
    path = tmp_path / "made.db"
    path.write_text("this is a letter " * 300)
    refused(path, "not a whole SQLite database")


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_database_is_refused(tmp_path, share):
    pulses, truth = tables([300, 400])
    path = database(tmp_path / "made.db", SRTInIcePulses=pulses, truth=truth)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "not a whole SQLite database")


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = nested(tmp_path / "made.parquet", *tables([3, 4]))
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "not a whole parquet file")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("string", 36.5, "table SRTInIcePulses lacks a number, or has text or a fraction"),
        ("string", None, "table SRTInIcePulses lacks a number"),
        ("string", "here", "table SRTInIcePulses lacks a number"),
        ("event_no", None, "SRTInIcePulses has 1 rows whose event_no is no number"),
        ("event_no", "three", "SRTInIcePulses has 1 rows whose event_no is no number"),
        ("event_no", 3.5, "table SRTInIcePulses lacks a number"),
        ("charge", "much", "table SRTInIcePulses lacks a number"),
        ("charge", None, "hold NaN or infinity"),
        ("hlc", 300, "hlc holds 300, which int8 cannot hold exactly"),
        ("dom_time", 2e7, "a time of 20000000 ns; beyond 2\\^24"),
    ],
)
def test_values_that_would_not_survive_are_refused(tmp_path, name, value, message):
    pulses, truth = tables([2, 1])
    path = database(tmp_path / "made.db", SRTInIcePulses=pulses, truth=truth)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE SRTInIcePulses SET {name} = ? WHERE rowid = 2", (value,))
    refused(path, message)


def test_lists_of_different_lengths_are_refused(tmp_path):
    path = nested(tmp_path / "made.parquet", *tables([3, 4]))
    table = pq.read_table(path)
    struct = table.column(0).chunk(0)
    fields = struct.flatten()
    names = [each.name for each in struct.type]
    fields[names.index("charge")] = pa.array([[1.0], [2.0] * 6])
    table = table.set_column(0, "SRTInIcePulses", pa.StructArray.from_arrays(fields, names))
    pq.write_table(table, path)
    refused(path, "an event has dom_x of another length than charge")
    fields[names.index("charge")] = pa.array([1.0, 2.0])
    table = table.set_column(0, "SRTInIcePulses", pa.StructArray.from_arrays(fields, names))
    pq.write_table(table, path)
    refused(path, "charge is double; expected a list for each event")


def test_the_database_is_not_changed(tmp_path):
    pulses, truth = tables([2, 1])
    path = database(tmp_path / "made.db", indexed=False, SRTInIcePulses=pulses, truth=truth)
    before = path.read_bytes()
    path.chmod(0o444)
    with opened(path, experiment("graphnet")) as entries:
        entries.read(0, 2)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["made.db"]
