"""Write files as the Kaggle competition "IceCube – Neutrinos in Deep Ice" has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.events import Array, Events, Floats
from pipeline.writing import written

ROW_GROUP_ROWS = 1 << 20
# What pandas needs to find the index that the competition's files have.
TYPES = {
    "sensor_id": "int16",
    "time": "int64",
    "charge": "float64",
    "auxiliary": "bool",
    "event_id": "int64",
}
PANDAS = {
    "index_columns": ["event_id"],
    "column_indexes": [],
    "columns": [
        {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": kind,
            "metadata": None,
        }
        for name, kind in TYPES.items()
    ],
    "pandas_version": "2.0.0",
}


def write_batch(path: Path, events: Events, row_group_rows: int = ROW_GROUP_ROWS) -> None:
    """Write the pulses of `events` as the batch `path`, whole or not at all.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    columns: dict[str, Array] = {
        "sensor_id": events.per_point["sensor_id"],
        "time": events.column("time"),
        "charge": events.column("charge"),
        "auxiliary": events.per_point["auxiliary"],
        "event_id": np.repeat(events.per_event["source_event_id"], events.sizes),
    }
    typed = {name: columns[name].astype(kind) for name, kind in TYPES.items()}
    table = pa.table(typed).replace_schema_metadata({"pandas": json.dumps(PANDAS)})
    with written(path) as temporary:
        pq.write_table(table, temporary, row_group_size=row_group_rows)


def meta_of(events: Events, number: int) -> Any:
    """Return the rows of `events` in the truth file, as those of batch `number`."""
    per_event = events.per_event
    columns: dict[str, Array] = {
        "batch_id": np.full(len(events), number, np.int64),
        "event_id": per_event["source_event_id"],
        "first_pulse_index": events.offsets[:-1],
        "last_pulse_index": events.offsets[1:] - 1,
    }
    for name in ("azimuth", "zenith"):
        if name in per_event:
            columns[name] = per_event[name]
    return pa.table(columns)


def write_meta(path: Path, table: Any) -> None:
    """Write the truth `table` as `path`, whole or not at all; a row group is a batch or a part.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    with written(path) as temporary:
        pq.write_table(table, temporary, row_group_size=200_000)


def write_geometry(path: Path, positions_m: Floats | Array) -> None:
    """Write where the sensors are, (sensors, 3), as `path`, whole or not at all.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    lines = [f"{sensor},{x:.2f},{y:.2f},{z:.2f}" for sensor, (x, y, z) in enumerate(positions_m)]
    text = "\n".join(["sensor_id,x,y,z", *lines, ""])
    with written(path) as temporary:
        temporary.write_text(text)
