"""The code that a job runs: a copy in the run folder, named by its contents.

A checkout may change while jobs wait in the queue. A submitted job imports its own copy, and so do
the links that it submits.
"""

import hashlib
import os
import shutil
import stat
from functools import cache
from pathlib import Path

from pipeline import catalog, trust
from pipeline.leftovers import hidden
from pipeline.run import Run
from pipeline.writing import keep, make_folder

SHELVES = ("jobs", "sites")
SUFFIXES = (".py", ".toml", ".j2", ".md")


def folder(run: Run) -> Path:
    """Return the folder in `run` for a copy of the current code, which is this user's own."""
    to = run.code / digest(catalog.PACKAGE)
    return to if not to.exists() or trust.is_own(to) else to.with_name(f"{to.name}-{os.geteuid()}")


def write(run: Run) -> Path:
    """Copy the current code into `run`, unless that copy exists; return its folder.

    Raises:
        OSError: The copy cannot be written; no partial copy remains under its final name.
    """
    to = folder(run)
    if to.is_dir():
        return to
    temporary = hidden(to)
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(to.parent)
    try:
        for source, name in _sources(catalog.PACKAGE):
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, temporary / name)
        _close(temporary)
        keep(temporary, to, replaces=False)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not to.is_dir():  # another controller was faster
            raise
    return to


def _close(folder: Path) -> None:
    """Let nobody but the owner change what is in `folder`, also where a run is a group's."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))


@cache
def digest(package: Path) -> str:
    """Return twelve hexadecimal digits for the content of every file; computed once per process."""
    digest = hashlib.sha256()
    for source, name in _sources(package):
        content = source.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _sources(package: Path) -> list[tuple[Path, Path]]:
    """Return (file, name in the copy) for the package and the shelves in or beside it.

    The copy has the layout of the checkout or wheel that it was made from.
    """
    beside = [package.parent / shelf for shelf in SHELVES if not (package / shelf).is_dir()]
    found = (
        path
        for folder in (package, *beside)
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    )
    return sorted((path, path.relative_to(package.parent)) for path in found)
