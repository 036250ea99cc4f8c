"""Checksums of files and arrays, to detect any change."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.writing import read_json, write_json


def sha256(path: Path) -> str:
    """Return the SHA-256 of the content of `path`, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembered(path: Path, folder: Path) -> str:
    """Return the SHA-256 of `path`, from a note in `folder` if it has not changed since.

    For what belongs to many source files, so that it is not read once for each.
    """
    state = path.stat()
    seen = [str(path), state.st_size, state.st_mtime_ns]
    note = folder / f"sha256-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    value = read_json(note)
    if value is None or value["seen"] != seen:
        value = {"seen": seen, "sha256": sha256(path)}
        write_json(note, value)
    return str(value["sha256"])


def unchanged(folder: Path, files: dict[str, str]) -> bool:
    """Return whether each of `files` (path below `folder` → SHA-256) is there with its content."""
    return all(
        (folder / name).is_file() and sha256(folder / name) == wanted
        for name, wanted in files.items()
    )


def array_hash(values: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
