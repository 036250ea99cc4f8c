"""Rows of an array inside an npz file, read forward without holding the whole of it."""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, NotImplementedError)


class Rows:
    """The rows of one array of an npz file; ranges are read in rising order."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0
        if version == (2, 0):
            header = np.lib.format.read_array_header_2_0
        shape, fortran, self.dtype = header(stream)
        if (fortran and len(shape) > 1) or self.dtype.hasobject:
            message = (
                f"{path}: an array is stored by columns or holds objects; expected plain rows."
            )
            raise BadInput(message)
        self.path, self.shape = path, shape
        self._stream, self._row = stream, 0

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def read(self, start: int, stop: int) -> Array:
        """Return the rows `start` to `stop`; `start` must not lie before what was read last.

        Raises:
            BadInput: The file ends before them, or is damaged there.
        """
        width = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        with whole(self.path):
            self._skip((start - self._row) * width)
            content = self._stream.read((stop - start) * width)
        self._row = stop
        if len(content) != (stop - start) * width:
            message = f"{self.path}: ends before row {stop} of {len(self)}. Fetch or make it again."
            raise BadInput(message)
        return np.frombuffer(content, self.dtype).reshape(stop - start, *self.shape[1:])

    def _skip(self, count: int) -> None:
        while count > 0:
            passed = len(self._stream.read(min(count, 1 << 24)))
            if not passed:
                raise EOFError
            count -= passed


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turn what a damaged npz file raises into one message.

    Raises:
        BadInput: The body met a fault of the file.
    """
    try:
        yield
    except BadInput:
        raise
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        message = f"{path}: not a whole npz file ({reason}). Fetch or make it again."
        raise BadInput(message) from error


@contextlib.contextmanager
def arrays(path: Path, *names: str) -> Iterator[list[Rows]]:
    """Open the arrays `names` of the npz file `path`.

    Raises:
        BadInput: The file is damaged or lacks one of them.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            there = {name.removesuffix(".npy"): name for name in archive.namelist()}
        missing = [name for name in names if name not in there]
        if missing:
            message = (
                f"{path}: no array {missing[0]!r}, only {', '.join(there) or 'none'}. "
                "Expected the layout of TPCpp-10M: data and size."
            )
            raise BadInput(message)
        with whole(path):
            rows = [Rows(path, stack.enter_context(archive.open(there[name]))) for name in names]
        yield rows
