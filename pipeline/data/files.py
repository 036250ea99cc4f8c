"""Files are whole: written so, or not at all; read so, or refused."""

import contextlib
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.data.errors import BadInput


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a hidden name to write to; then wait for the disk, and rename that file to `path`.

    A file has one writer at a time: what a killed one left beside `path` is removed.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    with all_written((path,)) as (temporary,):
        yield temporary


@contextlib.contextmanager
def all_written(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Do as `written` for files that belong together; none has its name before all are on disk."""
    temporaries = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            leftover.unlink()
    try:
        yield temporaries
        for temporary in temporaries:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole(path: Path, kind: str, faults: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn `faults`, which a library raises of a damaged `kind` of file, into one message.

    Raises:
        BadInput: The body met a fault of the file.
    """
    try:
        yield
    except BadInput:
        raise
    except faults as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        message = f"{path}: not a whole {kind} ({reason}). Fetch or make it again."
        raise BadInput(message) from error
