"""Sample files of IceCube: muons and cascades in the schema of the Kaggle competition."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.campaign import Simulation
from pipeline.data.events import Events, concatenate, offsets_of
from pipeline.data.experiments.icecube import COLUMNS, GEOMETRY
from pipeline.data.readers.kaggle_write import meta_of, write_batch, write_geometry, write_meta
from pipeline.data.simulation.ice_array import positions_m
from pipeline.data.simulation.ice_light import Sources, draw, shine
from pipeline.data.simulation.ice_pulses import Pulses, read_out
from pipeline.data.simulation.simulator import Made, Simulator

BLOCK_EVENTS = 100
NUMBER_BITS = 24  # events of one file


def make(count: int, *, seed: int, source: str, first_id: int = 1) -> Events:
    """Return `count` events that trigger, numbered from `first_id`; the same seed gives the same.

    `energy` (GeV) and `is_track` are known of each beside azimuth and zenith (rad); the
    competition's files have no room for them.
    """
    rng = np.random.default_rng(seed)
    sensors = positions_m()
    blocks: list[Events] = []
    made = 0
    while made < count:
        sources = draw(BLOCK_EVENTS, rng)
        pulses = read_out(shine(sources, sensors), len(sources), rng)
        block = _events(sources, pulses, source, first=made, most=count - made)
        made += len(block)
        blocks.append(block)
    events = concatenate(blocks)
    events.per_event["source_event_id"] = first_id + np.arange(count)
    return events


def _events(sources: Sources, pulses: Pulses, source: str, *, first: int, most: int) -> Events:
    """Return the events that have pulses, at most `most`, counted from `first`."""
    kept, sizes = np.unique(pulses.event, return_counts=True)
    kept, sizes = kept[:most], sizes[:most]
    points = int(sizes.sum())
    columns = np.column_stack([pulses.time_ns[:points], pulses.charge_pe[:points]])
    return Events(
        source=source,
        columns=tuple(column.name for column in COLUMNS),
        points=columns.astype(np.float32),
        offsets=offsets_of(sizes),
        event_id=np.arange(first, first + len(kept)),
        per_point={
            "sensor_id": pulses.sensor[:points].astype(np.uint16),
            "auxiliary": pulses.auxiliary[:points],
        },
        per_event={
            "azimuth": sources.azimuth[kept],
            "zenith": sources.zenith[kept],
            "energy": sources.energy_gev[kept],
            "is_track": sources.is_track[kept],
        },
    )


def write(path: Path, simulation: Simulation, number: int, seed: int) -> Made:
    """Write events as the batch `path`, and its rows of the truth in a hidden file beside it.

    As in the competition a number stands for one event: those of a file begin with its seed.
    """
    count = simulation.events_per_file
    events = make(count, seed=seed, source=str(path), first_id=(seed << NUMBER_BITS) + 1)
    counts = {
        "muons": int(events.per_event["is_track"].sum()),
        "auxiliary": int(events.per_point["auxiliary"].sum()),
    }
    if not simulation.labelled:
        del events.per_event["azimuth"], events.per_event["zenith"]
    write_meta(hidden_meta(path), meta_of(events, number))
    write_batch(path, events)
    return Made((hidden_meta(path), path), len(events), len(events.points), counts)


def hidden_meta(path: Path) -> Path:
    """Return where the truth of the batch `path` waits until all batches are there."""
    return path.with_name(f".{path.stem}_meta.parquet")


def finish(paths: tuple[Path, ...]) -> None:
    """Write the truth of all batches `paths` above their folders, and the geometry."""
    for folder in sorted({path.parent for path in paths}):
        mine = [hidden_meta(path) for path in paths if path.parent == folder]
        table = pa.concat_tables([pq.read_table(each) for each in mine])
        write_meta(folder.parent / f"{folder.name}_meta.parquet", table)
        write_geometry(folder.parent / GEOMETRY, positions_m())


SIMULATOR = Simulator(write, finish)
