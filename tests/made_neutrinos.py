"""Small events of pulses, as a batch and as a store, that the tests of this room share."""

from pathlib import Path

import numpy as np
import torch

from pipeline.data.experiments.icecube import COLUMNS
from pipeline.data.store import Store
from pipeline.data.store.manifest import Manifest, write_manifest
from pipeline.data.store.shard import write_shard
from pipeline.data.store.tables import write_tables
from pipeline.families.polarbert.spec import PolarBERT
from pipeline.nn.batch import Batch

SENSORS = 40


def small(**changes) -> PolarBERT:
    """A small model of a telescope of 40 sensors."""
    asked = {
        "width": 32,
        "layers": 2,
        "heads": 4,
        "inner": 48,
        "sensor_width": 12,
        "sensors": SENSORS,
    }
    return PolarBERT(**{**asked, **changes})


def geometry(sensors=SENSORS):
    """Four strings, on each of which the sensors hang 17 m apart, (sensors, 3)."""
    number = torch.arange(sensors)
    string, depth = number % 4, number // 4
    return torch.stack([string % 2 * 125.0, string // 2 * 125.0, 80.0 - 17.0 * depth], 1)


def pulses(sizes, *, seed=0, sensors=SENSORS) -> Batch:
    """Events of the given sizes; each lights up two neighbouring sensors, one pulse in four noise.

    Noise is auxiliary and anywhere. Every event has a pulse that is not.
    """
    made = torch.Generator().manual_seed(seed)
    count, events = sum(sizes), len(sizes)
    event = torch.arange(events).repeat_interleave(torch.tensor(sizes))
    offsets = torch.tensor([0, *np.cumsum(sizes)])
    noise = torch.rand(count, generator=made) < 0.25
    noise[offsets[:-1]] = False
    lit = torch.randint(0, sensors - 1, (events,), generator=made)[event]
    lit = lit + torch.randint(0, 2, (count,), generator=made)
    time = torch.rand(count, generator=made)
    charge = 0.1 + 3 * torch.rand(count, generator=made)
    anywhere = torch.randint(0, sensors, (count,), generator=made)
    return Batch(
        points=torch.stack([time[torch.argsort(time + 2 * event)], charge], 1),
        offsets=offsets,
        event_id=torch.arange(events),
        per_point={"sensor_id": torch.where(noise, anywhere, lit), "auxiliary": noise},
        per_event={
            "total_charge": torch.zeros(events).index_add(0, event, charge) * 1.5,
            "azimuth": 6 * torch.rand(events, generator=made),
            "zenith": 3 * torch.rand(events, generator=made),
        },
    )


def write_store(path: Path, sizes, *, without=(), sensors=SENSORS, table=True) -> Store:
    """Write a store with split "test" of made pulses, but for the arrays `without`; return it."""
    batch = pulses(sizes, sensors=sensors)
    time, charge = batch.points.double().numpy().T
    arrays = {
        "points": np.stack([time * 3e4 + 1e4, charge], 1).astype(np.float32),
        "offsets": batch.offsets.numpy(),
        "event_id": batch.event_id.numpy(),
        "sensor_id": batch.per_point["sensor_id"].numpy().astype(np.uint16),
        "auxiliary": batch.per_point["auxiliary"].numpy(),
        "total_charge": batch.per_event["total_charge"].numpy(),
    }
    record = write_shard(
        path / "test" / "00000",
        {name: each for name, each in arrays.items() if name not in without},
        attributes={},
        chunk_points=64,
        codec="none",
        per_event=frozenset({"event_id", "total_charge"}),
    )
    if table:
        write_tables(path, {"geometry": geometry(sensors).numpy()})
    manifest = Manifest(
        experiment="icecube",
        columns=COLUMNS,
        order="file",
        neighbours=0,
        min_points=1,
        max_points=1000,
        fractions={},
        files={},
        shards=(record,),
        sources=(),
        rejected={},
        events={"test": len(sizes)},
        points={"test": sum(sizes)},
    )
    write_manifest(path, manifest)
    return Store.open(path)
