"""What is written so that it stays, whatever becomes of the node that wrote it.

A file or folder is written under another name and synced, then renamed or linked into place, and
the folder that holds it is synced too: without that, a node that loses power may leave the name
with no content, or the content with no name. `keep` is the one function that does so.
"""

import errno
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.leftovers import hidden
from pipeline.outcome import RunError

SYNC_THREADS = 8  # a sync mostly waits: for the journal of a disk, or for servers


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk; what they name may not be."""
    _sync(folder, may_refuse=True)


def sync_all(paths: Sequence[Path]) -> None:
    """Wait until files, and folders with all that is in them, are on the disk.

    Raises:
        OSError: The disk is full or failed; the error names the file.
    """
    found = [each for path in paths for each in (path, *path.rglob("*")) if not each.is_symlink()]
    folders = [path for path in found if path.is_dir()]
    files = [path for path in found if not path.is_dir()]
    if len(found) == 1:
        _sync(found[0], may_refuse=bool(folders))
        return
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        list(pool.map(_sync, files))
        list(pool.map(sync_folder, folders))


def _sync(path: Path, *, may_refuse: bool = False) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if may_refuse and error.errno == errno.EINVAL:  # a file system that syncs no folders
            return
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it that are missing, so that they stay."""
    if folder.is_dir():
        return
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)


def keep(written: Path, path: Path, *, replaces: bool = True) -> None:
    """Give the complete file or folder `written` the name `path`, so that it stays.

    Both are in one folder. What `path` was before is removed last, a folder too; unless it
    `replaces` none.

    Raises:
        OSError: The folder is not writable, the disk is full or failed, or there is a folder at
            `path` that is neither empty nor to be replaced.
    """
    sync_all([written])
    keep_synced(written, path, replaces=replaces)


def keep_synced(written: Path, path: Path, *, replaces: bool = True) -> None:
    """Do as `keep` for what is on the disk already, but for its name."""
    if not (replaces and written.is_dir() and path.is_dir()):
        written.replace(path)
        sync_folder(path.parent)
        return
    aside = hidden(path).with_suffix(".old.tmp")
    path.rename(aside)
    try:
        written.rename(path)
    except OSError:
        aside.rename(path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(aside)


def write_text(path: Path, text: str, *, durable: bool = True, private: bool = False) -> None:
    """Write `text` so that `path` holds all of it or what it held before.

    A file that is not `durable` may hold the earlier text again after a crash of the node, but
    never a part: for what is written every second, and worth no wait for the folder. One that is
    `private` can be read by its owner alone, from the first byte on.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    make_folder(path.parent)
    temporary = hidden(path)
    with _named_after(path, temporary):
        _write(temporary, text, mode=0o600 if private else 0o666)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)


def create_text(path: Path, text: str) -> bool:
    """Write a new file of `text`; return False, and change nothing, where there is one already.

    It is linked into place, so that one of two writers wins and no reader sees half a file: also on
    Lustre and NFS, where flock is not available.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    make_folder(path.parent)
    temporary = hidden(path)
    with _named_after(path, temporary):
        _write(temporary, text)
        made = _linked(temporary, path)
        temporary.unlink()
        if made:
            sync_folder(path.parent)
    return made


def _write(path: Path, text: str, mode: int = 0o666) -> None:
    """Write `text` to `path`, with a mode that the umask lessens, and wait for the disk."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _linked(temporary: Path, path: Path) -> bool:
    """Return whether `temporary` could be linked to `path`, where there was nothing."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may lose the answer of a link that was made, and find the name taken the second time
        return temporary.stat().st_nlink == 2
    return True


@contextmanager
def _named_after(path: Path, temporary: Path) -> Iterator[None]:
    """Remove `temporary` if the body fails, and let a system error that names no file name `path`.

    A write that meets a full disk names none.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a hidden name to write a file to, which becomes `path` if the body succeeds.

    A file has one writer at a time: what a killed one left beside `path` is removed.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    with all_written((path,)) as (temporary,):
        yield temporary


@contextmanager
def all_written(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Do as `written` for files that belong together; none has its name before all are on disk."""
    temporaries = [hidden(path) for path in paths]
    for path in paths:
        make_folder(path.parent)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            leftover.unlink()
    try:
        yield temporaries
        sync_all(temporaries)
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


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
def new_folder(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Give a folder to fill, which becomes `path` if the body succeeds; else nothing stays.

    With `replaces` what was at `path` is removed then.

    Raises:
        RunError: There is something at `path` that is no empty folder, and is not to be replaced.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not replaces)):
        message = f"{path}: not empty. Name another folder."
        raise RunError(message)
    path = path.absolute()
    make_folder(path.parent)
    made = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    made.mkdir()
    try:
        yield made
        keep(made, path)
    finally:
        shutil.rmtree(made, ignore_errors=True)
