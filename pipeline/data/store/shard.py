"""Write one shard of a store: whole or not at all, read back before it counts.

A shard is a Zarr group; each array in it is one Zarr shard file with chunks inside. Each chunk
carries its CRC32C, so that whoever reads it knows whether it is what was written.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.store.manifest import ArrayRecord, ShardRecord

# Two to nine times zarr-python's own pipeline when reading; it cannot write to memory.
FAST_PIPELINE = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}
CODECS: dict[str, Any] = {
    "zstd": (ZstdCodec(level=1), Crc32cCodec()),
    "lz4": (BloscCodec(cname="lz4", shuffle="noshuffle"), Crc32cCodec()),
    "none": (Crc32cCodec(),),
}
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
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        for name, content in encode(arrays, attributes, chunk_points, codec).items():
            _write_synced(temporary / name, content)
        _compare(temporary, arrays)
        record = _record(temporary, folder, arrays, per_event)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return record


def encode(
    arrays: dict[str, Array], attributes: dict[str, Any], chunk_points: int, codec: str
) -> dict[str, bytes]:
    """Return the files of a Zarr group of `arrays`, path → content."""
    buffers: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(store_dict=buffers), attributes=attributes)
    for name, values in arrays.items():
        rest = values.shape[1:]
        chunks = max(1, -(-len(values) // chunk_points))
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(chunk_points, *rest),
            shards=(chunk_points * chunks, *rest),
            compressors=CODECS[codec],
        )
        array[...] = values
    return {name: buffer.to_bytes() for name, buffer in buffers.items()}


def read_arrays(folder: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays `names` of the Zarr group in `folder`."""
    with zarr.config.set(FAST_PIPELINE):
        group = zarr.open_group(folder, mode="r")
        return {name: np.asarray(group[name]) for name in names}


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _compare(folder: Path, arrays: dict[str, Array]) -> None:
    """Check that the group in `folder` holds `arrays`.

    Raises:
        BadInput: It does not: memory, disk or codec is at fault.
    """
    wrong = [
        name
        for name, values in arrays.items()
        if not np.array_equal(read_arrays(folder, (name,))[name], values)
    ]
    if wrong:
        message = (
            f"{folder}: {', '.join(wrong)} differ when read back. The disk or its memory is at "
            "fault; stage to another file system, or on another node."
        )
        raise BadInput(message)


def _record(
    written: Path, folder: Path, arrays: dict[str, Array], per_event: frozenset[str]
) -> ShardRecord:
    """Return the record of the shard `folder`, whose files are in `written` for now."""
    files = sorted(path for path in written.rglob("*") if path.is_file())
    return ShardRecord(
        split=folder.parent.name,
        name=folder.name,
        events=len(arrays[EVENT]),
        points=len(arrays["points"]),
        arrays={name: _array_record(name, values, per_event) for name, values in arrays.items()},
        files={path.relative_to(written).as_posix(): sha256(path) for path in files},
    )


def _array_record(name: str, values: Array, per_event: frozenset[str]) -> ArrayRecord:
    per = "boundary" if name == BOUNDARY else "event" if name in per_event else "point"
    width = values.shape[1] if values.ndim > 1 else 0
    return ArrayRecord.model_validate({"dtype": values.dtype.name, "per": per, "width": width})
