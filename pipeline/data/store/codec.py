"""The bytes of one array of a shard: a file of Zarr 3's sharding codec.

Chunks of rows one after another, each compressed and followed by its CRC32C, then an index of the
offset and length of each as unsigned 64-bit numbers, then the CRC32C of the index
(zarr-specs.readthedocs.io, "Sharding codec", version 1.0). Any Zarr library reads these files; we
do so ourselves because zarr-python packs at a third of this speed, and `zarrs` does not compare the
checksums of chunks when it reads.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc

from pipeline.data.events import Array

blosc.set_nthreads(1)  # parallel are the workers
LEVEL = 1
CHECKSUM = {"name": "crc32c"}
CRC32C_BYTES = 4
INDEX_ENTRY_BYTES = 16


@dataclass(frozen=True)
class Codec:
    """How the chunks of an array are compressed; `cname` is Blosc's name of it, None for not.

    Blosc sorts bytes by their place in a number first. Floats of several columns lie column by
    column, where neighbours are alike: together that is a quarter of the size, measured on sPHENIX.
    """

    cname: str | None

    def described(self, values: Array) -> dict[str, Any]:
        """Return filters and compressors of an array such as `values`, as Zarr describes them."""
        filters = [{"name": "transpose", "configuration": {"order": [1, 0]}}]
        blosc_of = {
            "name": "blosc",
            "configuration": {
                "cname": self.cname,
                "clevel": LEVEL,
                "shuffle": "noshuffle" if values.itemsize == 1 else "shuffle",
                "typesize": values.itemsize,
                "blocksize": 0,
            },
        }
        return {
            "filters": filters if by_column(values.dtype, values.ndim) else [],
            "compressors": [blosc_of, CHECKSUM] if self.cname else [CHECKSUM],
        }

    def compress(self, chunk: Array) -> bytes:
        """Return the bytes of `chunk`, as they are stored."""
        if by_column(chunk.dtype, chunk.ndim):
            chunk = np.ascontiguousarray(chunk.T)
        if self.cname is None:
            return chunk.tobytes()
        shuffle = blosc.NOSHUFFLE if chunk.itemsize == 1 else blosc.SHUFFLE
        content: bytes = blosc.compress(chunk, self.cname.encode(), LEVEL, shuffle)
        return content

    def decompress(self, content: bytes, target: Array) -> None:
        """Write the chunk of `content` into `target`, of its shape."""
        turned = by_column(target.dtype, target.ndim)
        whole = np.empty(target.shape[::-1], target.dtype) if turned else target
        if self.cname is None:
            whole.reshape(-1).view(np.uint8)[:] = np.frombuffer(content, np.uint8)
        else:
            blosc.decompress(content, whole)
        if turned:
            target[...] = whole.T


def by_column(dtype: np.dtype[Any], dimensions: int) -> bool:
    """Return whether chunks of such arrays lie column by column: floats of several columns do."""
    return dtype.kind == "f" and dimensions == 2


CODECS = {"zstd": Codec("zstd"), "lz4": Codec("lz4"), "none": Codec(None)}


def packed(values: Array, rows: int, codec: Codec) -> Iterator[bytes]:
    """Yield the parts of the file of `values`, `rows` of them to a chunk."""
    index, offset = [], 0
    for start in range(0, len(values), rows):
        chunk = np.ascontiguousarray(values[start : start + rows])
        if len(chunk) < rows:  # a chunk is always whole
            whole = np.zeros((rows, *values.shape[1:]), values.dtype)
            whole[: len(chunk)] = chunk
            chunk = whole
        content = codec.compress(chunk)
        index.append((offset, len(content) + CRC32C_BYTES))
        offset += len(content) + CRC32C_BYTES
        yield content
        yield _crc32c(content)
    places = np.array(index, "<u8").tobytes()
    yield places
    yield _crc32c(places)


def _crc32c(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(CRC32C_BYTES, "little")


class DamagedError(ValueError):
    """The bytes of a file are not what was written."""


@dataclass(frozen=True)
class ArrayFile:
    """An array of a shard on disk, in `folder`; any range of its rows can be read."""

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int
    codec: Codec

    @classmethod
    def open(cls, folder: Path) -> "ArrayFile":
        """Return the array that `folder`/zarr.json describes.

        Raises:
            DamagedError: The description is not one of ours.
            OSError: It cannot be read.
        """
        described = json.loads((folder / "zarr.json").read_bytes())
        try:
            inner = described["codecs"][0]["configuration"]
            settings = [each.get("configuration", {}) for each in inner["codecs"]]
            codec = next((each["cname"] for each in settings if "cname" in each), "none")
            shape, rows = tuple(described["shape"]), int(inner["chunk_shape"][0])
            return cls(folder, shape, np.dtype(described["data_type"]), rows, CODECS[codec])
        except (KeyError, IndexError, TypeError) as error:
            message = f"zarr.json describes no sharded array ({error})"
            raise DamagedError(message) from error

    @property
    def path(self) -> Path:
        """The file of the chunks."""
        return self.folder / "c" / "/".join(["0"] * len(self.shape))

    @cached_property
    def index(self) -> npt.NDArray[np.uint64]:
        """Offset and length (C, 2) of the chunks.

        Raises:
            DamagedError: Its checksum differs.
        """
        chunks = -(-self.shape[0] // self.rows)
        size = chunks * INDEX_ENTRY_BYTES + CRC32C_BYTES
        with self.path.open("rb") as stream:
            content = _read(stream, max(0, self.path.stat().st_size - size), size)
        return np.frombuffer(content, "<u8").reshape(chunks, 2)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Return the rows `start` to `stop`, to the end if None.

        Raises:
            DamagedError: The checksum of a chunk or of the index differs.
            OSError: The file cannot be read.
        """
        stop = self.shape[0] if stop is None else min(stop, self.shape[0])
        found = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        if not found.size:
            return found
        with self.path.open("rb") as stream:
            for chunk in range(start // self.rows, -(-stop // self.rows)):
                offset, size = (int(each) for each in self.index[chunk])
                self._place(_read(stream, offset, size), chunk * self.rows - start, found)
        return found

    def _place(self, content: bytes, row: int, found: Array) -> None:
        """Put the chunk of `content`, whose first row is `row` of `found`, into `found`."""
        if row >= 0 and row + self.rows <= len(found):
            self.codec.decompress(content, found[row : row + self.rows])
            return
        chunk = np.empty((self.rows, *self.shape[1:]), self.dtype)
        self.codec.decompress(content, chunk)
        stop = min(row + self.rows, len(found))
        found[max(row, 0) : stop] = chunk[max(row, 0) - row : stop - row]


def _read(stream: BinaryIO, offset: int, size: int) -> bytes:
    """Return the `size` bytes from `offset` on, less the CRC32C at their end.

    Raises:
        DamagedError: The checksum differs, or the file is shorter.
    """
    stream.seek(offset)
    content, checksum = stream.read(size - CRC32C_BYTES), stream.read(CRC32C_BYTES)
    if _crc32c(content) != checksum:
        message = f"the checksum (CRC32C) of bytes {offset} to {offset + size} differs"
        raise DamagedError(message)
    return content
