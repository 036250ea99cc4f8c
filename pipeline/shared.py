"""A run folder that a group shares: each member reads it, and may drive the campaign on.

The folder itself says so. It belongs to the group, may be written by it, and hands both on to what
is made below it (setgid); whoever works there takes 002 as umask.
"""

import grp
import os
import stat
from pathlib import Path

from pipeline.catalog import DeclarationError
from pipeline.writing import make_folder

UMASK = 0o002
FOR_GROUP = stat.S_IRGRP | stat.S_IWGRP
FOLDER = FOR_GROUP | stat.S_IXGRP | stat.S_ISGID


def share(folder: Path, group: str, *, closed: Path | None = None) -> None:
    """Make `folder`, and what this user has in it, the group's, by name or number; "" is none.

    What only this user may read stays so, keys and secrets for example; and what is in the folder
    `closed` below, copies of the code for example, which are nobody else's to change.

    Raises:
        DeclarationError: There is no such group, or this user is not in it.
    """
    if not group:
        return
    number = _number(group)
    os.umask(UMASK)
    if is_shared(folder) and folder.stat().st_gid == number:
        return
    make_folder(folder)
    _give(folder, number, group)
    for place, folders, files in os.walk(folder):
        paths = {name: Path(place, name) for name in (*folders, *files)}
        given = {name: path for name, path in paths.items() if _may_be_given(path)}
        for path in given.values():
            _give(path, number, group)
        folders[:] = [name for name in folders if name in given and paths[name] != closed]


def is_shared(folder: Path) -> bool:
    """Whether `folder` is a group's, as `share` makes it."""
    return folder.is_dir() and folder.stat().st_mode & FOLDER == FOLDER


def follow(folder: Path) -> None:
    """Let what this process writes be the group's if `folder` is."""
    if is_shared(folder):
        os.umask(UMASK)


def _may_be_given(path: Path) -> bool:
    """Whether `path` is this user's, and others may read it already."""
    found = path.lstat()
    is_private = found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) == 0
    return not path.is_symlink() and found.st_uid == os.geteuid() and not is_private


def _give(path: Path, number: int, group: str) -> None:
    mode = path.stat().st_mode
    try:
        os.chown(path, -1, number)
    except PermissionError as error:
        message = f"group {group!r}: you are not in it, so {path} cannot be shared with it."
        raise DeclarationError(message) from error
    if path.is_dir():
        path.chmod(mode | FOLDER)
    elif mode & stat.S_IWUSR:
        path.chmod(mode | FOR_GROUP)


def _number(group: str) -> int:
    """Return the number of a group.

    Raises:
        DeclarationError: There is none of that name.
    """
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        message = f"group {group!r}: not known here. Yours: {', '.join(_mine())}."
        raise DeclarationError(message) from None


def _mine() -> list[str]:
    """Return the names of this user's groups, the number of one without a name."""
    names = {each.gr_gid: each.gr_name for each in grp.getgrall()}
    return [names.get(each, str(each)) for each in os.getgroups()]
