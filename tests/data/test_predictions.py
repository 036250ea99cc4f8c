"""The table of predictions: its columns, what is refused, and the arrays that come back."""

from dataclasses import replace

import awkward
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data import predictions
from pipeline.data.errors import BadInput
from pipeline.data.events import Events, offsets_of
from pipeline.data.predictions import Described, Table
from pipeline.data.predictions.parts import ROW_GROUP_BYTES, Parts, is_whole, write, write_groups
from pipeline.data.predictions.table import tables
from pipeline.downstream.predicted import Predicted, classes

SIZES = [3, 1, 2]
KNOWN = {
    "probabilities": classes("point", ("hit", "noise")),
    "energy": Predicted("event", unit="GeV"),
}
RNG = np.random.default_rng(0)
PREDICTED = {
    "probabilities": RNG.random((6, 2)).astype(np.float32),
    "energy": RNG.random(3).astype(np.float32),
    "track": np.arange(6),
    "where": RNG.random((3, 2, 2)),
    "good": np.array([True, False, True]),
}


def events(sizes=SIZES, **arrays):
    """Events of `sizes` points without columns, with `arrays` of truth."""
    points = sum(sizes)
    return Events(
        source="made",
        columns=(),
        points=np.empty((points, 0), np.float32),
        offsets=offsets_of(np.array(sizes)),
        event_id=np.arange(len(sizes)) + 100,
        per_point={"pt_gev": np.arange(points, dtype=np.float32)},
        per_event=arrays,
        verified=True,
    )


def table(predicted=PREDICTED, of=None, **described):
    of = events(label=np.array([1, 0, 1], np.int8)) if of is None else of
    about = Described("made", KNOWN, made_from="x", **described)
    return Table(about, of, ["a.root"] * len(of), np.arange(len(of)), predicted)


def saved(path, **changes):
    write(path, [table(**changes).arrow()])
    return path


def test_columns_carry_names_units_and_truth(tmp_path):
    found = predictions.read(saved(tmp_path / "p.parquet"))
    assert found.fields == [
        *("event_id", "file", "entry", "probability_hit", "probability_noise", "energy"),
        *("track", "where", "good", "truth_pt_gev", "truth_label"),
    ]
    assert awkward.num(found.track).tolist() == SIZES
    assert found.truth_pt_gev.tolist() == [[0, 1, 2], [3], [4, 5]]
    assert found.event_id.tolist() == [100, 101, 102]
    assert found.file.tolist() == ["a.root"] * 3
    schema = pq.read_schema(tmp_path / "p.parquet")
    units = {f.name: (f.metadata or {}).get(b"unit") for f in schema}
    assert (units["energy"], units["truth_pt_gev"], units["track"]) == (b"GeV", b"GeV", None)


def test_arrays_come_back_as_they_were_predicted(tmp_path):
    write(tmp_path / "p.parquet", [table().arrow(), table().arrow()])
    for name, values in predictions.arrays(tmp_path / "p.parquet").items():
        twice = np.concatenate([PREDICTED[name]] * 2)
        assert np.array_equal(values, twice), name
        assert values.dtype == twice.dtype, name


def test_a_file_has_the_same_bytes_however_its_rows_come(tmp_path):
    values = RNG.random(50_000).astype(np.float32)
    rows = table({"energy": values}, events([1, 2] * 25_000)).arrow()
    whole, pieces, again = (tmp_path / f"{name}.parquet" for name in ("whole", "pieces", "again"))
    write(whole, [pa.concat_tables([rows, rows]).combine_chunks()])
    write(pieces, [rows.slice(0, 777), rows.slice(777), rows])
    write_groups(again, tables(whole))
    assert pieces.read_bytes() == whole.read_bytes() == again.read_bytes()


def test_a_reader_gives_the_arrays_of_as_many_events_as_it_is_asked_for(tmp_path):
    path = tmp_path / "p.parquet"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.data.predictions.parts.ROW_GROUP_BYTES", 1)
        write(path, [table().arrow(), table().arrow()])  # a row group each
    assert pq.read_metadata(path).num_row_groups == 2
    reader, whole = predictions.Reader(path), predictions.arrays(path)
    parts = [reader.following(count) for count in (1, 4, 1)]
    assert [len(part["track"]) for part in parts] == [3, 1 + 2 + 3 + 1, 2]
    for name, values in whole.items():
        found = np.concatenate([part[name] for part in parts])
        assert np.array_equal(found, values), name
        assert found.dtype == values.dtype, name
    with pytest.raises(BadInput, match=r"p\.parquet: has fewer rows than events"):
        reader.following(1)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({"energy": np.zeros(6)}, "6 rows of 'energy' were predicted for 3 events of 6 points"),
        ({"other": np.zeros(5)}, "5 rows of 'other' were predicted"),
        ({"entry": np.zeros(3)}, "two columns 'entry'.*Let `predict` of the task"),
        ({"truth_label": np.zeros(3)}, "two columns 'truth_label'"),
    ],
)
def test_what_cannot_be_a_column_is_refused(predicted, message):
    with pytest.raises(BadInput, match=message):
        table(predicted).arrow()


@pytest.mark.parametrize(("of_points", "kind"), [(True, pa.types.is_list), (False, None)])
def test_where_an_event_has_one_point_each_the_task_decides(of_points, kind):
    made = table({"own": np.zeros(2)}, events([1, 1]), of_points=of_points).arrow()
    assert pa.types.is_list(made.schema.field("own").type) == (kind is not None)


def test_a_file_that_is_none_or_damaged_is_named(tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    for path in (other, tmp_path / "none.parquet"):
        with pytest.raises(BadInput, match=r"parquet: no table of predictions"):
            predictions.read(path)
    path = saved(tmp_path / "p.parquet")
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(5)
    content[column.data_page_offset + column.total_compressed_size - 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"p\.parquet: damaged .* run the evaluation again"):
        predictions.arrays(path)


def test_parts_are_merged_in_order_and_gone(tmp_path):
    parts = Parts(tmp_path / "parts", "x", events=7, part_events=3)
    for number in (2, 0, 1):
        whole = table().arrow()
        numbered = whole.set_column(2, whole.schema.field(2), pa.array([number] * 3))
        write(parts.path(number), [numbered.slice(0, parts.rows(number))])
        assert is_whole(parts.path(number), "x", parts.rows(number))
        assert not is_whole(parts.path(number), "y", parts.rows(number))
    parts.merge(tmp_path / "p.parquet")
    assert predictions.read(tmp_path / "p.parquet").entry.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_processes_share_the_parts_that_are_missing(tmp_path):
    parts = Parts(tmp_path, "x", events=10, part_events=2)
    assert parts.missing() == [range(5)]
    assert [parts.missing(rank, 3) for rank in range(3)] == [
        [range(1)],
        [range(1, 3)],
        [range(3, 5)],
    ]
    write(parts.path(1), [table().arrow().slice(0, 2)])
    assert parts.missing() == [range(1), range(2, 5)]
    with pytest.raises(BadInput, match=r"000000.parquet: not there. Run the evaluation again"):
        parts.merge(tmp_path / "p.parquet")


def test_nothing_half_written_stays(tmp_path):
    def fails():
        yield table().arrow()
        message = "no more"
        raise OSError(message)

    with pytest.raises(OSError, match="no more"):
        write(tmp_path / "p.parquet", fails())
    with pytest.raises(BadInput, match="no events to write predictions of"):
        write(tmp_path / "p.parquet", [])
    assert list(tmp_path.iterdir()) == []


def test_rows_are_written_as_they_come(tmp_path):
    points = 3 * ROW_GROUP_BYTES // 8
    large = events([points // 4] * 4)
    large = replace(large, per_point={}, verified=True)
    one = Table(Described("made"), large, [""] * 4, np.zeros(4, np.int64), {"a": np.zeros(points)})
    write(tmp_path / "p.parquet", (one.arrow().slice(n, 1) for n in range(4)))
    assert pq.read_metadata(tmp_path / "p.parquet").num_row_groups > 1
