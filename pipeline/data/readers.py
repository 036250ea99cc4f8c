"""Which reader takes which file. A new format is one function and one entry here."""

from collections.abc import Callable
from pathlib import Path

from pipeline.data.errors import BadInput
from pipeline.data.events import Events


def read(path: Path) -> tuple[Events, dict[str, int]]:
    """Return the events of `path`, and how many its reader rejected for which reason.

    Raises:
        BadInput: No reader takes the file, or it cannot be read as what its name says.
    """
    if path.suffix not in READERS:
        message = f"{path}: no reader for {path.suffix!r} files; known: {', '.join(READERS)}."
        raise BadInput(message)
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}). Check the path and its permissions."
        raise BadInput(message) from error
    if empty:
        message = f"{path}: the file is empty. Fetch or make it again."
        raise BadInput(message)
    events, rejected = READERS[path.suffix](path)
    if not len(events):
        reasons = ", ".join(f"{count} {name}" for name, count in rejected.items() if count)
        message = f"{path}: no event is left ({reasons or 'none in the file'}). Leave it out."
        raise BadInput(message)
    return events, rejected


def files(path: Path) -> tuple[Path, ...]:
    """Return all files that `read` takes when asked for `path`."""
    if path.suffix != ".npz":
        return (path,)
    from pipeline.data.sphenix_npz import companions  # noqa: PLC0415

    return companions(path)


def _npz(path: Path) -> tuple[Events, dict[str, int]]:
    from pipeline.data.sphenix_npz import read_npz  # noqa: PLC0415

    return read_npz(path)


def _root(path: Path) -> tuple[Events, dict[str, int]]:
    from pipeline.data.sphenix_root import read_root  # noqa: PLC0415  # takes a second to load

    return read_root(path)


READERS: dict[str, Callable[[Path], tuple[Events, dict[str, int]]]] = {
    ".npz": _npz,
    ".root": _root,
}
