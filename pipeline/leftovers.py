"""Hidden names under which files are written, and what killed processes left under such names."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

# How long ago something was written for the last time, by the clock of its file system, before it
# may be what a dead process left: where the process can be looked up, and where it cannot, since it
# was on another host.
DEAD_SECONDS = 60.0
OLD_SECONDS = 86_400.0
HIDDEN = re.compile(r"\..+\.(?P<process>\d+|[0-9a-f]{8})(\.old)?\.tmp")


def hidden(path: Path) -> Path:
    """Return the name under which this process writes what becomes `path`."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


def remove(folders: Iterable[Path]) -> int:
    """Remove what dead processes left in `folders`, not below them; return how much it was."""
    count = 0
    for folder in filter(Path.is_dir, folders):
        found = [path for path in folder.iterdir() if HIDDEN.fullmatch(path.name)]
        now = _now(folder) if found else 0.0
        for path in found:
            count += _removed(path, now)
    return count


def _now(folder: Path) -> float:
    """Return the time by the clock of the file system of `folder`."""
    with tempfile.TemporaryFile(dir=folder) as made:
        return os.fstat(made.fileno()).st_mtime


def _removed(path: Path, now: float) -> bool:
    """Remove `path` if its writer is dead, or was on another host and is silent for a day."""
    try:
        age = now - path.lstat().st_mtime
    except FileNotFoundError:  # it has got its name
        return False
    if age <= (DEAD_SECONDS if _is_dead(path.name) else OLD_SECONDS):
        return False
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return True


def _is_dead(name: str) -> bool:
    """Whether a process of this host wrote under that name, and lives no more."""
    found = HIDDEN.fullmatch(name)
    process = found["process"] if found else ""
    here = f".{socket.gethostname()}.{process}." in name
    return here and process.isdigit() and not Path("/proc", process).exists()
