"""Whose files may run code as you: your own, root's, and those of users whom you name.

A Python file that a campaign names, a site file, the settings of a chain's next job and the copy of
the code in a run folder all decide what runs in your name. In a folder that several people can
write to, each of them can be somebody else's. docs/trust.md has the whole list.
"""

import os
import pwd
from pathlib import Path

ACCEPTED = "COSMOTRON_TRUSTED_USERS"  # names of users, with commas between them


class OtherOwnerError(ValueError):
    """A file that may run code belongs to another user; the message says how to accept that."""

    outcome = "bad_input"


def check(path: Path) -> None:
    """Check that the owner of `path` may run code as this user.

    Raises:
        OtherOwnerError: It is another user's.
        OSError: The file is not there.
    """
    _check(path, path.stat().st_uid)


def content(path: Path) -> bytes:
    """Return the content of `path`, whose owner may run code as this user.

    The file that is checked is the one that is read, whatever `path` names a moment later.

    Raises:
        OtherOwnerError: It is another user's.
        OSError: The file is not there, or cannot be read.
    """
    with path.open("rb") as stream:
        _check(path, os.fstat(stream.fileno()).st_uid)
        return stream.read()


def is_own(path: Path) -> bool:
    """Whether the existing `path` belongs to this user."""
    return path.stat().st_uid == os.geteuid()


def exported() -> dict[str, str]:
    """Return what a batch script exports, so that its programs accept the same users."""
    names = ",".join(_accepted())
    return {ACCEPTED: names} if names else {}


def _accepted() -> list[str]:
    """Return the users whom this one accepts."""
    return [name for each in os.environ.get(ACCEPTED, "").split(",") if (name := each.strip())]


def _check(path: Path, owner: int) -> None:
    if owner in (0, os.geteuid()):
        return
    name = user_name(owner)
    if name in _accepted() or str(owner) in _accepted():
        return
    message = (
        f"{path}: belongs to {name}, and may run code as you. Read it; then make a copy of your "
        f"own, or accept what {name} writes: export {ACCEPTED}={','.join([*_accepted(), name])}"
    )
    raise OtherOwnerError(message)


def user_name(user: int | None = None) -> str:
    """Return the name of a user, this process's if none is given; the number if it has no name.

    It is the system's, whatever the environment says.
    """
    number = os.geteuid() if user is None else user
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
