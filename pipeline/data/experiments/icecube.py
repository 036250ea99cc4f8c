"""IceCube: pulses of the Kaggle release "Neutrinos in Deep Ice", prepared as PolarBERT."""

from pathlib import PurePosixPath

from pipeline.data.experiment import Column, Experiment
from pipeline.data.preparation.pulses import (
    POLARBERT,
    TIME_OFFSET_NS,
    TIME_SCALE_NS,
    select_pulses,
)

GEOMETRY = "sensor_geometry.csv"
COLUMNS = (
    Column(
        name="time", unit="ns", offset=TIME_OFFSET_NS, scale=TIME_SCALE_NS, provenance=POLARBERT
    ),
    Column(
        name="charge",
        unit="p.e.",
        offset=0.0,
        scale=1.0,
        provenance="as it is: a model takes its logarithm, see polarbert_inputs",
    ),
)


def companions(path: str) -> tuple[str, ...]:
    """Return the geometry and the truth that belong to the batch `path`: beside it, or above."""
    folder = PurePosixPath(path).parent.name
    names = (GEOMETRY, f"{folder}_meta.parquet") if folder else (GEOMETRY,)
    return (*names, *(f"../{name}" for name in names))


ICECUBE = Experiment(
    name="icecube",
    title="IceCube: batches of the Kaggle competition, with truth and geometry beside or above",
    columns=COLUMNS,
    readers={".parquet": "pipeline.data.readers.kaggle:open_batch"},
    companions=companions,
    event_key="source_event_id",  # the competition numbers all its events
    limit=select_pulses,
    max_points=127,
    block_events=4096,
    shard_events=32_768,
)
