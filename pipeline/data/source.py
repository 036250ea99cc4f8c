"""Source files, wherever they are: a path, or an address that fsspec understands.

`https://host/file.root`, `root://host//file.root`, and a member of a big archive that is read by
ranges, `zip://folder/file.npz::https://host/archive.zip`.
"""

import contextlib
import os
import posixpath
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline.campaign.sources import CHAIN, system_of
from pipeline.data.errors import BadInput
from pipeline.inside import OutsideError, inside
from pipeline.masking import UnsetVariableError, expanded, unexpanded

WEB = ("https://", "http://")
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.5
BLOCK_BYTES = 1 << 24
XROOTD_ABSENT = ("[3011]", "_ls_from_cache")  # kXR_NotFound; not in a listing
Found = TypeVar("Found")


def is_remote(name: str) -> bool:
    """Return whether `name` is an address rather than a path."""
    return "://" in name


def file_of(name: str) -> str:
    """Return the path or address of a file, without the archive that it is in, or a query."""
    head = name.partition(CHAIN)[0]
    return head.partition("?")[0] if head.startswith(WEB) else head


def beside(name: str, relative: str) -> str:
    """Return the path or address of `relative`, as seen from the folder of `name`."""
    _, chain, rest = name.partition(CHAIN)
    scheme, mark, path = file_of(name).partition("://")
    if not mark:
        return str(Path(name).parent / relative)
    folder = posixpath.dirname(path)
    return f"{scheme}{mark}{_joined(folder, relative)}{chain}{rest}"


def _joined(folder: str, relative: str) -> str:
    """Return `folder`/`relative` without dots; the double slash of root:// addresses stays."""
    while relative.startswith("../"):
        folder, relative = posixpath.dirname(folder), relative.removeprefix("../")
    return f"{folder}/{relative}" if folder else relative


@contextlib.contextmanager
def fetched(name: str, companions: tuple[str, ...], folder: Path) -> Iterator[Path]:
    """Yield the path of the source file `name`; a remote one is copied into `folder` meanwhile.

    `folder` is for this file alone: what a killed process left there goes first. `companions`,
    relative to the file, are copied along where they exist.

    Raises:
        BadInput: It cannot be fetched, or arrives incomplete.
    """
    if not is_remote(name):
        yield Path(name)
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        # the folder's own name is noted down with its hash: its variables stay
        own = (Path(file_of(name)).parent.name, _file_name(name))
        path = _within(folder, "/".join(filter(None, own)), name)
        fetch_to(name, path)
        for relative in companions:
            address = beside(name, relative)
            if _persistently(address, partial(_exists, address)):
                there = os.path.relpath(os.path.normpath(path.parent / relative), folder)
                fetch_to(address, _within(folder, there, address))
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _within(folder: Path, name: str, address: str) -> Path:
    """Return the path of `name` in `folder`, where `address` is fetched to.

    Raises:
        BadInput: The name leads out of the folder, as that of a member of an archive may.
    """
    try:
        return inside(folder, name)
    except OutsideError as error:
        message = f"{address}: {error}."
        raise BadInput(message) from error


def _file_name(address: str) -> str:
    """Return the name of the file at `address`.

    Raises:
        BadInput: A variable in it is not set.
    """
    try:
        return Path(file_of(expanded(address))).name
    except UnsetVariableError as error:
        message = f"{address}: {error}."
        raise BadInput(message) from error


def size_of(name: str) -> int:
    """Return the bytes of the source file `name`.

    Raises:
        BadInput: It is not there, or its server does not answer.
    """
    if not is_remote(name):
        try:
            return Path(name).stat().st_size
        except OSError as error:
            message = f"{name}: cannot be read ({error.strerror}). Check the path."
            raise BadInput(message) from error
    return int(_persistently(name, partial(_size, name)) or 0)


def _size(address: str) -> int | None:
    system, path = system_of(address)
    size: int | None = system.size(path)
    return size


def _exists(address: str) -> bool:
    """Return whether `address` is there; a server in trouble is an error, not an answer."""
    system, path = system_of(address)
    try:
        system.info(path)
    except Exception as error:
        if _is_absent(error):
            return False
        raise
    return True


def _is_absent(error: Exception) -> bool:
    """Return whether `error` says that there is no such file.

    Over HTTP, fsspec calls any failure so, and keeps the true one as its cause; of XRootD's it
    makes an OSError.
    """
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__
        known = isinstance(cause, FileNotFoundError | KeyError)  # KeyError: no member of a zip
        return cause is None or known or getattr(cause, "status", None) in (404, 410)
    return isinstance(error, OSError) and any(each in str(error) for each in XROOTD_ABSENT)


def fetch_to(address: str, path: Path) -> None:
    """Copy `address` to `path`, and check that it came whole.

    Raises:
        BadInput: It did not, several times.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _persistently(address, lambda: _copy(address, path))


def _copy(address: str, path: Path) -> None:
    system, remote = system_of(address)
    with system.open(remote, "rb", block_size=BLOCK_BYTES) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, BLOCK_BYTES)
    expected, got = system.size(remote), path.stat().st_size
    if expected is not None and got != expected:
        message = f"{got} of {expected} bytes came"
        raise ConnectionError(message)


def _persistently(address: str, work: Callable[[], Found]) -> Found:
    """Return what `work` gives; if the network fails, try again, each time after a longer wait.

    Raises:
        BadInput: There is nothing at `address`, or it failed every time.
    """
    wait = FIRST_WAIT_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except UnsetVariableError as error:
            message = f"{address}: {error}."
            raise BadInput(message) from error
        except (ValueError, ImportError, KeyError) as error:
            reason = unexpanded(str(error), address)
            message = f"{address}: not an address that can be read ({reason}). Known: https://, "
            message += "root:// (with cosmotron[xrootd]), zip://member::address."
            raise BadInput(message) from error
        except Exception as error:  # every network library has errors of its own
            if _is_absent(error):
                message = f"{address}: not there. Check the address."
                raise BadInput(message) from error
            if attempt == ATTEMPTS:
                cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
                reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
                reason = unexpanded(reason, address)
                message = f"{address}: cannot be fetched ({reason}), tried {attempt} times. "
                message += "Check the network, or fetch it by hand and give its path."
                raise BadInput(message) from error
            time.sleep(wait)
            wait *= 3
    raise AssertionError(address)
