"""Files are read whole, or refused."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.errors import BadInput


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
