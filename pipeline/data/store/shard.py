"""Write one shard of a store: whole or not at all, read back before it counts.

A shard is a Zarr group; each array in it is one Zarr shard file with chunks inside.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from pipeline import claims
from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.store.codec import CODECS, ArrayFile, packed
from pipeline.data.store.content import labels_in, track_count
from pipeline.data.store.manifest import ArrayRecord, ShardRecord
from pipeline.leftovers import hidden
from pipeline.writing import keep_synced, make_folder, sync_all

BOUNDARY = "offsets"
EVENT = "event_id"


def write_shard(
    folder: Path,
    arrays: dict[str, Array],
    *,
    per_event: frozenset[str],
    attributes: dict[str, Any],
    chunk_points: int,
    codec: str,
) -> ShardRecord:
    """Write `arrays` as the shard `folder` and return its record; `folder.parent` is the split.

    Raises:
        BadInput: What was read back differs from what was written.
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
        SupersededError: Another process has taken over the work.
    """
    make_folder(folder.parent)
    temporary = hidden(folder)
    try:
        hashes = {
            name: _write(temporary / name, parts)
            for name, parts in encoded(arrays, attributes, chunk_points, codec)
        }
        _compare(temporary, arrays)
        sync_all([temporary])
        claims.confirm()
        keep_synced(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ShardRecord(
        split=folder.parent.name,
        name=folder.name,
        events=len(arrays[EVENT]),
        points=len(arrays["points"]),
        arrays={name: _described(name, arrays[name], per_event) for name in sorted(arrays)},
        files=dict(sorted(hashes.items())),
        tracks=track_count(arrays),
        labels=labels_in(arrays),
    )


def encoded(
    arrays: dict[str, Array], attributes: dict[str, Any], chunk_points: int, codec: str
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield path and content, in parts, of each file of a Zarr group of `arrays`."""
    described: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(store_dict=described), attributes=attributes)
    for name, values in arrays.items():
        rest = values.shape[1:]
        chunks = max(1, -(-len(values) // chunk_points))
        row_bytes = values.itemsize * int(np.prod(rest, dtype=np.int64))
        group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(chunk_points, *rest),
            shards=(chunk_points * chunks, *rest),
            compressors=[*CODECS[codec].described(row_bytes), {"name": "crc32c"}],
        )
        if len(values):
            chunk = "/".join(["c", *["0"] * values.ndim])
            yield f"{name}/{chunk}", packed(values, chunk_points, CODECS[codec])
    for name, buffer in described.items():
        yield name, [buffer.to_bytes()]


def read_arrays(folder: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays `names` of the Zarr group in `folder`."""
    return {name: ArrayFile.open(folder / name).read() for name in names}


def _write(path: Path, parts: Iterable[bytes]) -> str:
    """Write `parts` to `path` and return their SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for part in parts:
            stream.write(part)
            digest.update(part)
    return digest.hexdigest()


def _compare(folder: Path, arrays: dict[str, Array]) -> None:
    """Check that the group in `folder` holds `arrays`.

    Raises:
        BadInput: It does not: memory, disk or codec is at fault.
    """
    wrong = [name for name, values in arrays.items() if not _is_written(folder / name, values)]
    if wrong:
        message = (
            f"{folder}: {', '.join(wrong)} differ when read back. The disk or its memory is at "
            "fault; stage to another file system, or on another node."
        )
        raise BadInput(message)


def _is_written(folder: Path, values: Array) -> bool:
    """Return whether the array in `folder` is `values`; it is never in memory as a whole."""
    written = ArrayFile.open(folder)
    return written.shape == values.shape and all(
        np.array_equal(chunk[: len(values) - first], values[first : first + len(chunk)])
        for first, chunk in written.chunks(0, len(values))
    )


def _described(name: str, values: Array, per_event: frozenset[str]) -> ArrayRecord:
    per = "boundary" if name == BOUNDARY else "event" if name in per_event else "point"
    width = values.shape[1] if values.ndim > 1 else 0
    return ArrayRecord.model_validate({"dtype": values.dtype.name, "per": per, "width": width})
