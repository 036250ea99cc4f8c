"""Names that data gives: of shards, files and members of archives. None leads out of its folder."""

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator


class OutsideError(ValueError):
    """A name in a file leads out of the folder that it is meant for."""

    outcome = "bad_input"


def checked(name: str) -> str:
    """Return `name` if it is a relative path that leads nowhere up, whatever links there are.

    Raises:
        OutsideError: It is absolute, has a part "..", is empty or no path at all.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        message = (
            f"{name!r} is no name in its folder, but leads elsewhere. Whoever made the file meant "
            "harm, or it is damaged: fetch or make it again"
        )
        raise OutsideError(message)
    return name


def inside(folder: Path, name: str) -> Path:
    """Return the path of `name` in `folder`, which lies there by its links too.

    Raises:
        OutsideError: It leads out of `folder`.
    """
    path = folder / checked(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        message = (
            f"{path} is a link to {path.resolve()}, out of its folder. Replace it by what it leads "
            "to, if you trust that"
        )
        raise OutsideError(message)
    return path


Inside = Annotated[str, AfterValidator(checked)]  # in a declaration: a name from a file
