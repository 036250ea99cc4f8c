"""What a store says of itself; written last, it makes the store exist."""

from typing import Literal

from pydantic import NonNegativeInt

from pipeline.campaign import Order
from pipeline.catalog import Declaration


class Column(Declaration):
    """One column of `points`; `(value - offset) / scale` normalises it."""

    name: str
    unit: str
    offset: float
    scale: float


class ShardRecord(Declaration):
    """One shard: its arrays with their types, and the SHA-256 of each of its files."""

    split: str
    name: str
    events: NonNegativeInt
    points: NonNegativeInt
    arrays: dict[str, str]
    files: dict[str, str]


class SourceRecord(Declaration):
    """One file that was staged."""

    split: str
    path: str
    bytes: NonNegativeInt
    sha256: str


class BinsRecord(Declaration):
    """The edges of the voxels in normalised eta, phi and r."""

    eta: tuple[float, ...]
    phi: tuple[float, ...]
    r: tuple[float, ...]


class Manifest(Declaration):
    """The content of `manifest.json`; `events` and `points` are totals per split."""

    schema_name: Literal["cosmotron-events"] = "cosmotron-events"
    schema_version: Literal[1] = 1
    experiment: str
    columns: tuple[Column, ...]
    order: Order
    neighbours: NonNegativeInt
    max_points: NonNegativeInt
    bins: BinsRecord
    shards: tuple[ShardRecord, ...]
    sources: tuple[SourceRecord, ...]
    rejected: dict[str, int]
    events: dict[str, int]
    points: dict[str, int]
