"""Checksums of files, to know whether they are still what was written."""

import hashlib
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of the content of `path`, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unchanged(folder: Path, files: dict[str, str]) -> bool:
    """Return whether each of `files` (path below `folder` → SHA-256) is there with its content."""
    return all(
        (folder / name).is_file() and sha256(folder / name) == wanted
        for name, wanted in files.items()
    )
