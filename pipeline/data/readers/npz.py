"""Rows of an array inside an npz file, read forward without holding the whole of it."""

import contextlib
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.data import files
from pipeline.data.errors import BadInput
from pipeline.data.events import Array

DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,  # encrypted; and NotImplementedError, a compression that Python does not know
    SyntaxError,
    TypeError,
    ValueError,
)
whole = partial(files.whole, kind="npz file", faults=DAMAGED)
CHECKSUM = "CRC-32 of members"
AT_ONCE = 1 << 20  # bytes; zipfile holds three times what it is asked for


class Rows:
    """The rows of one array of an npz file; reading in rising order reads the file once."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_2_0
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0
        shape, fortran, self.dtype = header(stream)
        if (fortran and len(shape) > 1) or self.dtype.kind not in "biuf":
            message = (
                f"{path}: an array is stored by columns or holds {self.dtype}; expected plain "
                "rows of numbers. Write it again in C order."
            )
            raise BadInput(message)
        if any(length < 0 for length in shape):
            message = f"shape {shape}"
            raise ValueError(message)
        self.path, self.shape = path, shape
        self._stream, self._begin, self._row = stream, stream.tell(), 0

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def read(self, start: int, stop: int) -> Array:
        """Return the rows `start` to `stop`.

        Raises:
            BadInput: The file ends before them, or is damaged there.
        """
        width = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        with whole(self.path):
            if start < self._row:
                self._row = 0
                self._stream.seek(self._begin)
            self._skip((start - self._row) * width)
            content = self._next((stop - start) * width)
            if stop == len(self) and self._stream.read(1):  # zipfile checks the sum at the end
                message = "rows follow the last"
                raise ValueError(message)
        self._row = stop
        return content.view(self.dtype).reshape(stop - start, *self.shape[1:])

    def _skip(self, count: int) -> None:
        """Pass over `count` bytes."""
        while count > 0:
            passed = len(self._stream.read(min(count, AT_ONCE)))
            if not passed:
                raise EOFError
            count -= passed

    def _next(self, count: int) -> Array:
        """Return the next `count` bytes; nothing is reserved for what the file does not hold."""
        content = bytearray()
        while len(content) < count:
            some = self._stream.read(min(count - len(content), AT_ONCE))
            if not some:
                message = f"ends before row {len(self)}"
                raise ValueError(message)
            content += some
        return np.frombuffer(content, np.uint8)


def names_in(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the members, each as it stands in the list and before its content.

    The list has no checksum: a wrong letter would make an array look as if it had been left out.
    """
    for name in archive.namelist():
        archive.open(name).close()  # compares both names
    return archive.namelist()


@contextlib.contextmanager
def arrays(
    path: Path, *names: str, layout: str = "the layout of TPCpp-10M: data and size"
) -> Iterator[list[Rows]]:
    """Open the arrays `names` of the npz file `path`.

    Raises:
        BadInput: The file is damaged or lacks one of them.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            there = {name.removesuffix(".npy"): name for name in names_in(archive)}
        missing = [name for name in names if name not in there]
        if missing:
            message = (
                f"{path}: no array {missing[0]!r}, only {', '.join(there) or 'none'}. "
                f"Expected {layout}."
            )
            raise BadInput(message)
        with whole(path):
            rows = [Rows(path, stack.enter_context(archive.open(there[name]))) for name in names]
        yield rows
