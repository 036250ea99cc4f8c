"""The files of a claim: one folder, in which each holder in turn has the next number.

`00000007.json` is the seventh claim; it is linked into place, so that one process alone gets the
number, and is never written again. Its holder renames it to `00000007.over` when it is done, and
writes `00000007.beat` again and again while it works. The highest number counts. No file has a name
that a later holder could use, so a process that was stopped for a long time and goes on with a
rename, a removal or a beat never hits a file of its successor.
"""

import contextlib
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.claims.process import Holder
from pipeline.writing import create_json

HELD, OVER, BEAT = ".json", ".over", ".beat"


@dataclass(frozen=True)
class Claimant:
    """The content of a claim: whose it is, and after how long without a beat it is nobody's.

    `work` is the key of the batch job that it works for, empty outside of one.
    """

    token: str
    holder: Holder
    silent_seconds: float
    work: str = ""


@dataclass(frozen=True)
class Seen:
    """The newest claim of a folder, as it was read; `claimant` is None if it is unreadable."""

    number: int
    is_over: bool
    content: bytes = b""
    beat: bytes = b""

    @property
    def claimant(self) -> Claimant | None:
        """What the claim says: nothing if a crash of its node left it empty or torn."""
        try:
            value = json.loads(self.content)
            holder = Holder(**value["holder"])
            token, seconds, work = value["token"], value["silent_seconds"], value["work"]
            return Claimant(str(token), holder, float(seconds), str(work))
        except (ValueError, TypeError, KeyError):
            return None


def newest(folder: Path) -> Seen | None:
    """Return the newest claim in `folder`, None if there never was one."""
    while True:
        number, suffix = max(_numbered(folder), default=(0, ""))
        if not number:
            return None
        if suffix == OVER:
            return Seen(number, is_over=True)
        try:
            content = _file(folder, number, HELD).read_bytes()
        except FileNotFoundError:  # released or taken over since the folder was listed
            continue
        try:
            beat = _file(folder, number, BEAT).read_bytes()
        except FileNotFoundError:
            beat = b""
        return Seen(number, is_over=False, content=content, beat=beat)


def link(folder: Path, number: int, claimant: Claimant) -> bool:
    """Make claim `number`; return whether it is ours, and the newest.

    A process that was stopped before its link may come with a number that others have used and
    cleared since: then theirs is higher.
    """
    with contextlib.suppress(FileNotFoundError):  # another one cleared our hidden file
        create_json(_file(folder, number, HELD), asdict(claimant))
    if is_held(folder, number, claimant.token):
        return True
    found = _content_of(folder, number)
    if found is not None and found.token == claimant.token:
        _file(folder, number, HELD).unlink(missing_ok=True)
    return False


def is_held(folder: Path, number: int, token: str = "") -> bool:
    """Return whether claim `number` is the newest, not over, and has that `token`.

    Without a token, whether it is the newest: who works for a holder that has ended was not
    superseded.
    """
    newest_number, suffix = max(_numbered(folder), default=(0, ""))
    if not token:
        return newest_number == number
    if (newest_number, suffix) != (number, HELD):
        return False
    found = _content_of(folder, number)
    return found is not None and found.token == token


def _content_of(folder: Path, number: int) -> Claimant | None:
    try:
        content = _file(folder, number, HELD).read_bytes()
    except FileNotFoundError:
        return None
    return Seen(number, is_over=False, content=content).claimant


def beat(folder: Path, number: int, count: int) -> None:
    """Write beat `count` of claim `number`; a detector that reads half of it sees a change too."""
    _file(folder, number, BEAT).write_text(f"{count} {uuid.uuid4().hex}\n")


def release(folder: Path, number: int) -> None:
    """Mark claim `number` as over, if nobody has taken it over and cleared it."""
    with contextlib.suppress(FileNotFoundError):
        _file(folder, number, HELD).rename(_file(folder, number, OVER))
    _file(folder, number, BEAT).unlink(missing_ok=True)


def clear(folder: Path, number: int) -> None:
    """Remove what holders before claim `number` left, and what killed ones were writing."""
    for name in os.listdir(folder):  # noqa: PTH208 - names alone
        found = _parsed(name)
        if found is None or found[0] < number:
            (folder / name).unlink(missing_ok=True)


def _numbered(folder: Path) -> list[tuple[int, str]]:
    """Return number and suffix of the claims in `folder`, none where there is no such folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (_parsed(name) for name in names)
    return [each for each in found if each is not None and each[1] != BEAT]


def _parsed(name: str) -> tuple[int, str] | None:
    """Return number and suffix of a file's name, None if it is no file of a claim."""
    stem, dot, suffix = name.rpartition(".")
    if not stem.isdecimal() or dot + suffix not in (HELD, OVER, BEAT):
        return None
    return int(stem), dot + suffix


def _file(folder: Path, number: int, suffix: str) -> Path:
    return folder / f"{number:08d}{suffix}"
