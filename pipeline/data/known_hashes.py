"""Known SHA-256 of source files, as `sha256sum` writes them: what a format cannot check itself."""

import re
from pathlib import Path, PurePosixPath

from pipeline.data.errors import BadInput

LINE = re.compile(r"\\?([0-9a-fA-F]{64})[ \t]+\*?(.+)")
Known = dict[PurePosixPath, str]


def read_known(path: Path) -> Known:
    """Return the hashes in the file `path` by name: a hash, blanks, and a name on each line.

    Raises:
        BadInput: It cannot be read, has another form, or has two hashes for one name.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read as a list of SHA-256 ({error}). Use that of sha256sum."
        raise BadInput(message) from error
    known: Known = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            message = (
                f"{path}: line {number} is {line[:40]!r}; expected 64 hexadecimal digits, blanks "
                "and a name, as sha256sum writes them."
            )
            raise BadInput(message)
        name, value = PurePosixPath(found[2].strip()), found[1].lower()
        if known.setdefault(name, value) != value:
            message = f"{path}: line {number} has another hash of {name} than a line before."
            raise BadInput(message)
    return known


def check_known(known: Known, listed: Path, name: str, sha256: str) -> None:
    """Check that the file `name`, whose hash is `sha256`, is the one in the list `listed`.

    The list may name files from another folder: the longest common end of the paths decides.

    Raises:
        BadInput: The list has no such file, or another hash, or several that might be meant.
    """
    parts = PurePosixPath(name).parts
    common = {each: _common_end(each.parts, parts) for each in known}
    most = max(common.values(), default=0)
    found = {known[each] for each, length in common.items() if length == most}
    if not most:
        message = f"{name}: not in the list {listed}. Add its hash: sha256sum {name} >> {listed}"
        raise BadInput(message)
    if len(found) > 1:
        several = ", ".join(str(each) for each, length in common.items() if length == most)
        message = f"{name}: {listed} has several files of this name: {several}. List longer paths."
        raise BadInput(message)
    if sha256 not in found:
        message = (
            f"{name}: its SHA-256 is {sha256}, but {listed} has {found.pop()}. The file is damaged "
            "or another version; fetch it again."
        )
        raise BadInput(message)


def _common_end(some: tuple[str, ...], others: tuple[str, ...]) -> int:
    """Return how many parts two paths share, counted from the end."""
    count = 0
    for one, other in zip(reversed(some), reversed(others), strict=False):
        if one != other:
            break
        count += 1
    return count
