"""Small events of pulses that the tests of neutrino telescopes share."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.events import Events, offsets_of
from pipeline.data.experiments import experiment
from pipeline.data.readers import opened
from pipeline.data.readers.kaggle_write import meta_of, write_batch, write_geometry, write_meta

SENSORS = 5160
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no real sample {name} in {SHARED}")
    return path


def pulses(sizes, *, seed=0, auxiliary=0.6, first_id=11):
    rng = np.random.default_rng(seed)
    sizes = np.asarray(sizes, np.int64)
    count, events = int(sizes.sum()), len(sizes)
    event = np.repeat(np.arange(events), sizes)
    time = rng.integers(0, 90_000, count)
    columns = [time[np.lexsort((time, event))], rng.integers(1, 4000, count) * 0.025]
    return Events(
        source="made",
        columns=("time", "charge"),
        points=np.column_stack(columns).astype(np.float32),
        offsets=offsets_of(sizes),
        event_id=np.arange(events),
        per_point={
            "sensor_id": rng.integers(0, SENSORS, count).astype(np.uint16),
            "auxiliary": rng.random(count) < auxiliary,
        },
        per_event={
            "source_event_id": first_id + 3 * np.arange(events),
            "azimuth": rng.uniform(0, 2 * np.pi, events),
            "zenith": rng.uniform(0, np.pi, events),
        },
    )


def geometry(sensors=SENSORS):
    return np.random.default_rng(9).integers(-500, 500, (sensors, 3)) / 4


def batch(folder, events, *, number=7, row_group_rows=1 << 20, meta=True, sensors=SENSORS):
    """Write the events as a batch with what belongs to it; return the batch's path."""
    path = folder / "train" / f"batch_{number}.parquet"
    write_batch(path, events, row_group_rows)
    if meta:
        write_meta(folder / "train_meta.parquet", meta_of(events, number))
    write_geometry(folder / "sensor_geometry.csv", geometry(sensors))
    return path


def read(path, name, step=None):
    """Return all events of the file `path` of experiment `name`, read in ranges of `step`."""
    with opened(path, experiment(name)) as entries:
        step = step or entries.count
        starts = range(0, entries.count, step)
        return [entries.read(start, min(start + step, entries.count))[0] for start in starts]


def same(found, expected, *, per_event=None, per_point=None):
    """Check that two events are equal, type for type, in the arrays that are named or all."""
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.event_id, expected.event_id)
    for name in per_point or expected.per_point:
        assert found.per_point[name].dtype == expected.per_point[name].dtype, name
        np.testing.assert_array_equal(found.per_point[name], expected.per_point[name])
    for name in per_event or expected.per_event:
        assert found.per_event[name].dtype == expected.per_event[name].dtype, name
        np.testing.assert_array_equal(found.per_event[name], expected.per_event[name])
