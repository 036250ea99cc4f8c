"""The bytes of one array of a shard: a file of Zarr 3's sharding codec.

Chunks of rows one after another, each compressed and followed by its CRC32C, then an index of the
offset and length of each as unsigned 64-bit numbers, then the CRC32C of the index
(zarr-specs.readthedocs.io, "Sharding codec", version 1.0). Any Zarr library reads these files; we
do so ourselves because zarr-python packs at a third of this speed, and `zarrs` does not compare the
checksums of chunks when it reads.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc, zstd

from pipeline.data.events import Array

CRC32C_BYTES = 4
INDEX_ENTRY_BYTES = 16


@dataclass(frozen=True)
class Codec:
    """How chunks are compressed: as Zarr describes it, and the two ways."""

    described: tuple[dict[str, Any], ...]
    compress: Callable[[Array], bytes]
    decompress: Callable[[bytes, Array], object]


def _copied(content: bytes, target: Array) -> None:
    target.view(np.uint8).reshape(-1)[:] = np.frombuffer(content, np.uint8)


CODECS = {
    "zstd": Codec(
        ({"name": "zstd", "configuration": {"level": 1, "checksum": False}},),
        lambda chunk: zstd.compress(chunk, 1),
        zstd.decompress,
    ),
    "lz4": Codec(
        (
            {
                "name": "blosc",
                "configuration": {
                    "cname": "lz4",
                    "clevel": 5,
                    "shuffle": "noshuffle",
                    "typesize": 1,
                    "blocksize": 0,
                },
            },
        ),
        lambda chunk: blosc.compress(chunk, b"lz4", 5, blosc.NOSHUFFLE),
        blosc.decompress,
    ),
    "none": Codec((), lambda chunk: chunk.tobytes(), _copied),
}


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
            names = [each["name"] for each in inner["codecs"]]
            codec = "zstd" if "zstd" in names else "lz4" if "blosc" in names else "none"
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

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """Yield the chunks that hold the rows `start` to `stop`, and the first row of each.

        A chunk is whole, with rows beyond those asked for, and overwritten by the next.

        Raises:
            DamagedError: The checksum of a chunk or of the index differs.
            OSError: The file cannot be read.
        """
        if start >= stop:
            return
        chunk = np.empty((self.rows, *self.shape[1:]), self.dtype)
        with self.path.open("rb") as stream:
            for number in range(start // self.rows, -(-stop // self.rows)):
                offset, size = (int(each) for each in self.index[number])
                self.codec.decompress(_read(stream, offset, size), chunk)
                yield number * self.rows, chunk

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
