"""Files that belong to a source file: looked for beside its name, then beside what that links to.

Caches of Hugging Face, DataLad and git-annex are folders of links. The name says what a file is and
what lies beside it; the file it points to may be called by its hash, in a folder of hashes.
"""

import os
from collections.abc import Callable
from pathlib import Path

Companions = Callable[[str], tuple[str, ...]]


def names_of(path: Path) -> tuple[Path, ...]:
    """Return the absolute path of a file as it is given and, if that leads over links, its own."""
    return tuple(dict.fromkeys((path.absolute(), path.resolve())))


def found_beside(path: Path, companions: Companions) -> list[Path]:
    """Return the companions of `path` that exist, each once, those beside its own name first.

    `companions` gives their paths relative to a file. Dots in them are of the name: "../a.csv" of
    a file in a linked folder is beside the link.
    """
    files: dict[Path, Path] = {}
    for each in names_of(path):
        for relative in companions(str(each)):
            candidate = Path(os.path.normpath(each.parent / relative))
            if candidate.exists():
                files.setdefault(candidate.resolve(), candidate)
    return list(files.values())


def companion(path: Path, companions: Companions, number: int) -> Path | None:
    """Return companion `number` of `path`, counted from 0, None where there is none."""

    def only(name: str) -> tuple[str, ...]:
        return companions(name)[number : number + 1]

    return next(iter(found_beside(path, only)), None)
