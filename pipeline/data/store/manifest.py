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
from pipeline.data.identity import OF_FILE
from pipeline.inside import Inside
from pipeline.writing import write_text

VERSION = 3
SCHEMA = f"cosmotron-events/{VERSION}"
MANIFEST = "manifest.json"
BINS = "bins.json"
OLDER = (1, 2)
SEAL = ',\n "sha256": "{}"\n}}\n'


class ArrayRecord(Declaration):
    """One array: a row per point, per event or per event boundary; `width` 0 is a flat one."""

    dtype: str
    per: Literal["point", "event", "boundary"]
    width: NonNegativeInt


class ShardRecord(Declaration):
    """One shard: the names of its arrays, and the SHA-256 of each of its files.

    `tracks` counts the true tracks of its events, `labels` are those that occur; None where the
    events have none, or in a store of an earlier version.
    """

    split: Inside
    name: Inside
    events: NonNegativeInt
    points: NonNegativeInt
    arrays: dict[Inside, ArrayRecord]
    files: dict[Inside, str]
    tracks: NonNegativeInt | None = None
    labels: tuple[int, ...] | None = None

    @property
    def file(self) -> int:
        """The number of the source file, counted among those with entries: it begins the name."""
        return int(self.name.partition("-")[0])


class SourceRecord(Declaration):
    """One file that was staged; `entries` of a file that goes along with another are 0.

    `split` is where its events went, empty where they were dealt one by one. `keys` are the least
    and the largest of the numbers that the experiment gives its events, None where an event is its
    place in the file. `verified_by` is the checksum that it was held to, empty for none.
    """

    path: str
    bytes: NonNegativeInt
    sha256: str
    entries: NonNegativeInt
    split: str = ""
    keys: tuple[int, int] | None = None
    verified_by: str = ""


class Manifest(Declaration):
    """The content of `manifest.json`; `events` and `points` are totals per split.

    `files` are those beside the shards, voxel bins and tables, with the SHA-256 of each.
    `event_key` is the array that names the events of `numbered_by`, the experiment of the sources;
    "file" where an event is its place in its file. `made_from` is the store that this one was made
    from, tokens or features for example; its `sources` are those of that store.
    """

    schema_name: Literal["cosmotron-events"] = "cosmotron-events"
    schema_version: Literal[3] = 3
    experiment: str
    columns: tuple[Column, ...]
    order: Order
    neighbours: NonNegativeInt
    min_points: NonNegativeInt
    max_points: NonNegativeInt
    fractions: dict[str, float]
    event_key: str = OF_FILE
    numbered_by: str = ""
    files: dict[Inside, str]
    sources: tuple[SourceRecord, ...]
    made_from: SourceRecord | None = None
    rejected: dict[str, int]
    events: dict[str, int]
    points: dict[str, int]
    shards: tuple[ShardRecord, ...]

    @property
    def content_sha256(self) -> str:
        """The SHA-256 that stands for all files of the shards, wherever they lie."""
        files = [shard.files for shard in self.shards]
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()

    @property
    def source_files(self) -> tuple[SourceRecord, ...]:
        """The files with events, each at its number, without those that go along with one."""
        return tuple(each for each in self.sources if each.entries)

    @property
    def based_on(self) -> tuple[SourceRecord, ...]:
        """What the store was made from: another store, or files."""
        return (self.made_from,) if self.made_from is not None else self.sources


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
        if key == "schema_version" and first["input"] in OLDER:
            raise BadInput(_older(store, first["input"])) from error
        message = (
            f"{path}: {key}: {first['msg']}. This is no manifest of {SCHEMA}; stage the data again."
        )
        raise BadInput(message) from error


def _older(store: Path, version: int) -> str:
    """Return what to say of a store of an older version, and what to type."""
    store = store.absolute()
    places = (store.with_suffix(".staging"), store.parent.parent / "stage" / store.stem)
    task = next((each for each in places if each.exists()), None)
    again = "cosmotron stage" if task == places[0] else "cosmotron run"
    return (
        f"{store}: staged by an older version (cosmotron-events/{version}, this one reads "
        f"{VERSION}), whose splits depended on the list of files: test events of one store may be "
        f"training events of another. Stage it again: rm -r {store} {task or ''}".rstrip()
        + f", then the same {again} command. Weights trained on it have seen its old splits: train "
        "them again too, best as a campaign of another name."
    )


def _damaged(path: Path) -> str:
    return (
        f"{path}: not what was written (SHA-256 differs). Remove it and the DONE file of the stage "
        "task, then run again: whole shards are kept."
    )
