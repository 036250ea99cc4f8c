"""A store as Croissant describes datasets, so that tools that never heard of us know what it holds.

Croissant 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html. It knows no units and
no Zarr: a unit is schema.org's `unitText` and in the description; `column` names the array of each
shard, and of `points` the column, as numpy would.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.campaign import Campaign
from pipeline.campaign.provenance import Provenance
from pipeline.data.checksums import sha256
from pipeline.data.experiment import Column
from pipeline.data.store import MANIFEST, Manifest
from pipeline.data.store.manifest import ArrayRecord, SourceRecord
from pipeline.masking import masked
from pipeline.run import Run

FORMAT = "http://mlcommons.org/croissant/1.0"
# Of no registered type, so its specification stands for it, as Croissant asks.
ZARR = "https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html"
ENCODINGS = {".json": "application/json", ".npz": "application/zip"}
# The prefixes and terms of the specification's own @context, word by word.
TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
KINDS = {"float": "sc:Float", "int": "sc:Integer", "uint": "sc:Integer", "bool": "sc:Boolean"}
SHARDS, SPLITS = "shards", "splits"
Node = dict[str, Any]


def croissant(run: Run, campaign: Campaign, store: Path, manifest: Manifest) -> Node:
    """Return the description of the `store` of `run`, whose `manifest` was compared with it."""
    given = campaign.provenance or Provenance()
    made = datetime.fromtimestamp((store / MANIFEST).stat().st_mtime, UTC)
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": FORMAT,
        "name": f"{campaign.name}-{store.stem}",
        "description": described_in_words(manifest),
        "version": f"1.0.0+{manifest.content_sha256[:12]}",
        "datePublished": made.date().isoformat(),
        "license": given.licence_address,
        "citeAs": _citation(campaign, given, store.stem),
        "keywords": ["cosmotron", manifest.experiment],
        "isBasedOn": [_source(each, run, store.parent) for each in manifest.based_on],
        "distribution": list(_distribution(store, manifest)),
        "recordSet": _record_sets(manifest),
    }
    return {key: value for key, value in described.items() if value}


def described_in_words(manifest: Manifest) -> str:
    """Return what a store holds, in a sentence or three."""
    sizes = ", ".join(
        f"{split} {events:,} events of {manifest.points.get(split, 0):,} points"
        for split, events in manifest.events.items()
    )
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in manifest.rejected.items())
    return (
        f"Events of the experiment {manifest.experiment} in shards of Zarr 3: {sizes}. "
        f"Order of the points: {manifest.order}. Events left out: {rejected or 'none'}. "
        f"{MANIFEST} has the SHA-256 of every file."
    )


def _citation(campaign: Campaign, given: Provenance, name: str) -> str:
    """Return what is to be cited for the store `name`: of tokens also what is for the dataset."""
    tokenizer = campaign.tokenizers.get(name)
    dataset = tokenizer.dataset if tokenizer is not None else ""
    return given.cite_as.get(name) or given.cite_as.get(dataset, "")


def _source(source: SourceRecord, run: Run, folder: Path) -> Node:
    """Return a file that was staged; one of the run is named as seen from `folder`."""
    address = masked(source.path)
    if "://" not in address and Path(address).is_relative_to(run.path.absolute()):
        address = os.path.relpath(address, folder.absolute())
    return {
        "@type": "sc:MediaObject",
        "name": address.rpartition("/")[2],
        "contentUrl": address,
        "contentSize": f"{source.bytes} B",
        "sha256": source.sha256,
    }


def _distribution(store: Path, manifest: Manifest) -> Iterable[Node]:
    """Yield the shards as one set of files, and each file beside them."""
    yield {
        "@type": "cr:FileSet",
        "@id": SHARDS,
        "name": SHARDS,
        "description": "Zarr groups <split>/<shard>, each array one file with chunks inside.",
        "encodingFormat": ZARR,
        "includes": f"{store.name}/*/*/**",
    }
    for name in (MANIFEST, *manifest.files):
        path = store / name
        yield {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": f"{store.name}/{name}",
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": ENCODINGS.get(path.suffix, "application/octet-stream"),
            "sha256": manifest.files.get(name) or sha256(path),
        }


def _record_sets(manifest: Manifest) -> list[Node]:
    """Return the splits, and what there is for each event and for each point."""
    arrays: dict[str, ArrayRecord] = {}
    for shard in manifest.shards:
        arrays = shard.arrays | arrays
    of_points = [_column(index, each) for index, each in enumerate(manifest.columns)]
    of_points += [
        _array("points", name, record)
        for name, record in arrays.items()
        if record.per == "point" and name != "points"
    ]
    of_events = [
        _array("events", name, record) for name, record in arrays.items() if record.per != "point"
    ]
    return [
        _splits(manifest),
        _record_set("events", "A record for each event, in the order of the shards.", of_events),
        _record_set("points", "A record for each point, event after event.", of_points),
    ]


def _splits(manifest: Manifest) -> Node:
    """Return the splits with their sizes, as records that stand here."""
    columns = {"name": "sc:Text", "events": "sc:Integer", "points": "sc:Integer"}
    return {
        "@type": "cr:RecordSet",
        "@id": SPLITS,
        "name": SPLITS,
        "description": "The splits, and how many events and points each has.",
        "dataType": "cr:Split",
        "key": {"@id": f"{SPLITS}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{SPLITS}/{name}", "name": name, "dataType": kind}
            for name, kind in columns.items()
        ],
        "data": [
            {
                f"{SPLITS}/name": split,
                f"{SPLITS}/events": events,
                f"{SPLITS}/points": manifest.points.get(split, 0),
            }
            for split, events in manifest.events.items()
        ],
    }


def _record_set(name: str, description: str, fields: list[Node]) -> Node:
    """Return a record set of `fields`, and of the split that a record's file is in."""
    split = {
        "@type": "cr:Field",
        "@id": f"{name}/split",
        "name": "split",
        "description": "The split, which is a folder of the store.",
        "dataType": "sc:Text",
        "references": {"field": {"@id": f"{SPLITS}/name"}},
        "source": {
            "fileSet": {"@id": SHARDS},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": r"\.zarr/([^/]+)/"},
        },
    }
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [split, *fields],
    }


def _column(index: int, column: Column) -> Node:
    """Return the field of one column of `points`, which are of type float32."""
    field = _field("points", column.name, f"points[:, {index}]", "float32")
    described = (
        f"{column.name} in {column.unit}. (value - {column.offset:g}) / {column.scale:g} "
        f"normalises it: {column.provenance}."
    )
    return field | {"description": described, "unitText": column.unit}


def _array(records: str, name: str, record: ArrayRecord) -> Node:
    """Return the field of an array that has a row for each point or event."""
    field = _field(records, name, name, record.dtype)
    if record.per == "boundary":
        described = (
            "E + 1 numbers for E events of a shard: points offsets[i] to offsets[i + 1] are of i"
        )
        return field | {"description": f"{record.dtype}. {described}."}
    if record.width:
        described = f"{record.dtype}, {record.width} of them for each record."
        return field | {"description": described, "repeated": True}
    return field | {"description": f"{record.dtype}."}


def _field(records: str, name: str, column: str, dtype: str) -> Node:
    """Return a field that is read from `column` of the shards: its exact type, and its kind."""
    letters = dtype.rstrip("0123456789")
    kind = KINDS.get(letters, "sc:Text")
    exact = {"float": "Float", "int": "Int", "uint": "UInt"}.get(letters)
    types = kind if exact is None else [f"cr:{exact}{dtype.removeprefix(letters)}", kind]
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        "dataType": types,
        "source": {"fileSet": {"@id": SHARDS}, "extract": {"column": column}},
    }
