"""ROOT files that are the same, byte for byte, whenever they are written."""

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uproot

from pipeline.writing import written

STAMP = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = uuid.UUID(int=0)


@contextlib.contextmanager
def recreated(path: Path) -> Iterator[Any]:
    """Give a new ROOT file to write, which is `path` when it is whole.

    uproot stamps a file with a random UUID and its name, and each record with the time. An event is
    its file's content: those of a simulation that is run again would be other events.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    encode = uproot._util.datetime_to_code  # noqa: SLF001 - no option sets the time
    uproot._util.datetime_to_code = lambda _: encode(STAMP)  # noqa: SLF001
    try:
        with (
            written(path) as temporary,
            temporary.open("w+b") as stream,  # of a path uproot would write the name, too
            uproot.recreate(stream, uuid_function=lambda: IDENTITY) as file,
        ):
            yield file
    finally:
        uproot._util.datetime_to_code = encode  # noqa: SLF001
