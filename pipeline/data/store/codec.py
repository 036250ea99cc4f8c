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

CRC32C_BYTES = 4
INDEX_ENTRY_BYTES = 16


# With several threads blosc puts the blocks of a chunk in the order in which they are ready, and
# equal data would give other bytes.
blosc.use_threads = False
MOST_SHUFFLED = 16  # bytes of a row; of wider ones it costs time and saves nothing, as measured


@dataclass(frozen=True)
class Codec:
    """How chunks are compressed: `name` and `level` of a compressor of blosc's, or none at all.

    Bytes of short rows are shuffled first: the first byte of every row, then the second, and so on.
    The exponents of a column then follow each other, which takes less room.
    """

    name: str
    level: int

    def described(self, row_bytes: int) -> list[dict[str, Any]]:
        """Return the codec of rows of `row_bytes` as Zarr describes it."""
        if not self.name:
            return []
        configuration = {
            "cname": self.name,
            "clevel": self.level,
            "shuffle": "shuffle" if row_bytes <= MOST_SHUFFLED else "noshuffle",
            "typesize": max(1, row_bytes) if row_bytes <= MOST_SHUFFLED else 1,
            "blocksize": 0,
        }
        return [{"name": "blosc", "configuration": configuration}]

    def compress(self, chunk: Array) -> bytes:
        """Return the bytes of `chunk`, compressed."""
        if not self.name:
            return chunk.tobytes()
        width = chunk.nbytes // len(chunk)
        how = (blosc.SHUFFLE, max(1, width)) if width <= MOST_SHUFFLED else (blosc.NOSHUFFLE, 1)
        content = chunk.view(np.uint8).reshape(-1)
        return bytes(
            blosc.compress(content, self.name.encode(), self.level, how[0], typesize=how[1])
        )

    def decompress(self, content: bytes, target: Array) -> None:
        """Write what `content` is of into `target`."""
        if self.name:
            blosc.decompress(content, target)
        else:
            target.view(np.uint8).reshape(-1)[:] = np.frombuffer(content, np.uint8)


CODECS = {"zstd": Codec("zstd", 1), "lz4": Codec("lz4", 5), "none": Codec("", 0)}


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
    entries = np.array(index, "<u8").tobytes()
    yield entries
    yield _crc32c(entries)


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
            codec = "zstd" if "blosc" in names else "none"  # blosc's header names the compressor
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
                self._copy(_read(stream, offset, size), chunk * self.rows - start, found)
        return found

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """Yield the chunks that hold the rows `start` to `stop`, and the first row of each.

        A chunk is whole, with rows beyond those requested, and overwritten by the next.

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

    def _copy(self, content: bytes, row: int, found: Array) -> None:
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
