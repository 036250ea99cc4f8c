"""Files that survive a crash: written whole under another name, synced, then renamed or linked."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.outcome import RunError


def write_text(path: Path, text: str) -> None:
    """Write `text` so that `path` holds all of it or what it held before.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):  # a write that meets a full disk names no file
            error.filename = error.filename or str(path)
        temporary.unlink(missing_ok=True)
        raise


def create_text(path: Path, text: str) -> bool:
    """Write a new file of `text`; return False, and change nothing, where there is one already.

    It is linked into place, so that one of two writers wins and no reader sees half a file: also on
    Lustre and NFS, where flock is not available.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.new")
    write_text(temporary, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may lose the answer of a link that was made, and find the name taken the second time
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink()
    return True


def create_json(path: Path, value: object) -> bool:
    """Write a new file of `value` as JSON; return False where there is one already."""
    return create_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in `path`, None where there is no such file.

    Raises:
        RunError: The file is there and holds no JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        message = f"{path}: damaged ({error}). Move it away and run again."
        raise RunError(message) from error
    if not isinstance(value, dict):
        message = f"{path}: expected a JSON object, found {type(value).__name__}."
        raise RunError(message)
    return value


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `path` if the body succeeds; else nothing stays.

    Raises:
        RunError: There is something at `path` that is no empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        message = f"{path}: not empty. Name another folder."
        raise RunError(message)
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as above:
        made = Path(above) / path.name
        made.mkdir()
        yield made
        made.replace(path)
