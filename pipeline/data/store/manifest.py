"""What a store says of itself; written last, it makes the store exist."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, ValidationError

from pipeline.campaign import Order
from pipeline.catalog import Declaration
from pipeline.data.errors import BadInput
from pipeline.data.experiment import Column
from pipeline.writing import write_text

MANIFEST = "manifest.json"
BINS = "bins.json"
SEAL = ',\n "sha256": "{}"\n}}\n'


class ArrayRecord(Declaration):
    """One array: a row per point, per event or per event boundary; `width` 0 is a flat one."""

    dtype: str
    per: Literal["point", "event", "boundary"]
    width: NonNegativeInt


class ShardRecord(Declaration):
    """One shard: the names of its arrays, and the SHA-256 of each of its files."""

    split: str
    name: str
    events: NonNegativeInt
    points: NonNegativeInt
    arrays: dict[str, ArrayRecord]
    files: dict[str, str]


class SourceRecord(Declaration):
    """One file that was staged; `entries` of a file that goes along with another are 0."""

    path: str
    bytes: NonNegativeInt
    sha256: str
    entries: NonNegativeInt


class Manifest(Declaration):
    """The content of `manifest.json`; `events` and `points` are totals per split.

    `files` are those beside the shards, voxel bins and tables, with the SHA-256 of each.
    """

    schema_name: Literal["cosmotron-events"] = "cosmotron-events"
    schema_version: Literal[2] = 2
    experiment: str
    columns: tuple[Column, ...]
    order: Order
    neighbours: NonNegativeInt
    min_points: NonNegativeInt
    max_points: NonNegativeInt
    fractions: dict[str, float]
    files: dict[str, str]
    sources: tuple[SourceRecord, ...]
    rejected: dict[str, int]
    events: dict[str, int]
    points: dict[str, int]
    shards: tuple[ShardRecord, ...]

    @property
    def content_sha256(self) -> str:
        """The SHA-256 that stands for all files of the shards, wherever they lie."""
        files = [shard.files for shard in self.shards]
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Write `manifest` into `store`, whole or not at all: from then on the store exists."""
    write_text(store / MANIFEST, _sealed(manifest.model_dump_json(indent=1).removesuffix("\n}")))


def _sealed(body: str) -> str:
    """Return `body` closed with its own hash, so that a changed byte anywhere is found."""
    return body + SEAL.format(hashlib.sha256(body.encode()).hexdigest())


def read_manifest(store: Path) -> Manifest:
    """Return the manifest of `store`.

    Raises:
        BadInput: There is none, it is damaged, or this version does not understand it.
    """
    path = store / MANIFEST
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        message = (
            f"{store}: no store here ({error.strerror}: {MANIFEST}). It exists once its stage "
            "task is finished; run that first."
        )
        raise BadInput(message) from error
    except UnicodeDecodeError as error:
        raise BadInput(_damaged(path)) from error
    body = text[: -len(SEAL.format("0" * 64))]
    if _sealed(body) != text:
        raise BadInput(_damaged(path))
    try:
        return Manifest.model_validate_json(body + "\n}")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "JSON"
        message = (
            f"{path}: {key}: {first['msg']}. "
            "This is no manifest of cosmotron-events version 2; stage the data again."
        )
        raise BadInput(message) from error


def _damaged(path: Path) -> str:
    return (
        f"{path}: not what was written (SHA-256 differs). Remove it and the DONE file of the stage "
        "task, then run again: whole shards are kept."
    )
