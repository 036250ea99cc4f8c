"""Write and read tar files in one pass, with the SHA-256 of each member and of the whole."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.release.archive_manifest import Member

BLOCK = 1 << 20


class ChangedError(Exception):
    """A file became shorter or disappeared while it was read."""


class Hashed:
    """A file that is read or written, with the SHA-256 and the number of the bytes so far."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.raw, self.digest, self.bytes = raw, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        """Write `data`, all of it."""
        self._count(data)
        return self.raw.write(data)

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes, at most `count`."""
        data = self.raw.read(count)
        self._count(data)
        return data

    def drain(self) -> None:
        """Read to the end."""
        while self.read(BLOCK):
            pass

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was read or written, in hexadecimal."""
        return self.digest.hexdigest()

    def _count(self, data: bytes) -> None:
        self.digest.update(data)
        self.bytes += len(data)


class _Whole(Hashed):
    """A file of which exactly what is wanted is read."""

    def read(self, count: int = -1) -> bytes:
        """Return the next `count` bytes.

        Raises:
            ChangedError: There are not as many.
        """
        data = super().read(count)
        if len(data) < count:
            raise ChangedError
        return data


class Tar:
    """A tar file that is being written."""

    def __init__(self, stream: Hashed, tar: tarfile.TarFile) -> None:
        self._stream, self._tar = stream, tar

    @classmethod
    @contextmanager
    def written(cls, path: Path, *, private: bool) -> Iterator["Tar"]:
        """Give a new tar file at `path`, which is whole once the body has succeeded.

        One that is `private` can be read by its owner alone, from the first byte on.
        """
        mode = 0o600 if private else 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as raw:
            stream = Hashed(raw)
            # mypy knows only files here; tarfile calls nothing but write()
            with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                yield cls(stream, tar)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the whole file, once it is written."""
        return self._stream.sha256

    @property
    def bytes(self) -> int:
        """The size of the file so far."""
        return self._stream.bytes

    def add(self, path: Path, name: str, known_as: str) -> Member:
        """Add the file `path` as it is at this moment; return its entry, `known_as` its path.

        What is appended meanwhile is left out; of a file that is replaced the former one is packed.

        Raises:
            ChangedError: It became shorter, or disappeared.
        """
        try:
            with path.open("rb") as stream:
                found = os.fstat(stream.fileno())
                reading = _Whole(stream)
                entry = header(name, found.st_size, int(found.st_mtime), found.st_mode)
                self._tar.addfile(entry, reading)
        except (FileNotFoundError, ChangedError) as error:
            raise ChangedError(path) from error
        return Member(path=known_as, bytes=found.st_size, sha256=reading.sha256)

    def add_text(self, name: str, text: str) -> None:
        """Add a file of `text`."""
        content = text.encode()
        entry = header(name, len(content), 0, 0o644)
        self._tar.addfile(entry, io.BytesIO(content))


def header(name: str, size: int, mtime: int, mode: int) -> tarfile.TarInfo:
    """Return the header of a file; neither its owner nor its group, who are others elsewhere."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, mtime, mode & 0o777
    return entry


def hashed(path: Path) -> Member:
    """Return the entry of the file `path` as it is now."""
    with path.open("rb") as raw:
        stream = Hashed(raw)
        stream.drain()
    return Member(path=path.name, bytes=stream.bytes, sha256=stream.sha256)
