"""The links of a chain, beside the task: one small file for each event in the life of a link.

A controller and the links themselves write here, on several machines at once: the first to come
creates a file, and nobody changes it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.chains.retry import LinkEnd
from pipeline.run import TaskFolder
from pipeline.writing import create_json, read_json

WITHDRAWN = "withdrawn"  # cancelled while no controller watched: as if it had never been


@dataclass(frozen=True)
class Link:
    """Link `number` of a chain: what was saved `before` it, and its outcome, empty until then."""

    number: int
    before: tuple[str, int]
    outcome: str = ""
    progressed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether no end of it is recorded."""
        return not self.outcome


@dataclass(frozen=True)
class Over:
    """The end of a chain with link `number`: why no other follows, and the outcome of that link."""

    number: int
    reason: str
    outcome: str
    message: str


def begin(folder: TaskFolder, number: int, before: tuple[str, int]) -> bool:
    """Record that link `number` begins; return False where another process has."""
    return create_json(Path(_file(folder, number, "begun")), {"before": before})


def end(folder: TaskFolder, number: int, outcome: str, *, progressed: bool) -> bool:
    """Record the outcome of link `number`; return False where another process has."""
    what = {"outcome": outcome, "progressed": progressed}
    return create_json(Path(_file(folder, number, "ended")), what)


def close(folder: TaskFolder, over: Over) -> bool:
    """Record that the chain ends with its last link; return False where another process has."""
    what = {"reason": over.reason, "outcome": over.outcome, "message": over.message}
    return create_json(Path(_file(folder, over.number, "over")), what)


def report(folder: TaskFolder, over: Over) -> bool:
    """Record that the user hears of the chain's end; False if they have: then it may go on."""
    return create_json(Path(_file(folder, over.number, "reported")), {"message": over.message})


def hold(folder: TaskFolder, number: int, job_id: str) -> str:
    """Return the id of the job that is link `number`: the first of those that claim to be."""
    path = _file(folder, number, "held")
    create_json(Path(path), {"job_id": job_id})
    return str(_content(path)["job_id"])


def read(folder: TaskFolder) -> list[Link]:
    """Return the links of the chain, oldest first; those of an earlier chain are left out.

    Raises:
        RunError: A file is damaged.
    """
    there = _there(folder)
    last = max(there["over"], default=0)
    return [
        _link(folder, number, ended=number in there["ended"])
        for number in sorted(there["begun"])
        if number > last
    ]


def newest(folder: TaskFolder) -> Link | None:
    """Return the last link of the chain, None if there is none since an earlier chain.

    Raises:
        RunError: A file is damaged.
    """
    there = _there(folder)
    number = max(there["begun"], default=0)
    if number <= max(there["over"], default=0):
        return None
    return _link(folder, number, ended=number in there["ended"])


def last_number(folder: TaskFolder) -> int:
    """Return the number of the last link that has begun, of an earlier chain too; 0 for none."""
    there = _there(folder)
    return max(there["begun"] | there["over"], default=0)


def over(folder: TaskFolder) -> Over | None:
    """Return why the chain is over, None if another link was begun since or none is missing.

    Raises:
        RunError: A file is damaged.
    """
    there = _there(folder)
    last = max(there["over"], default=0)
    if not last or max(there["begun"], default=0) > last:
        return None
    return Over(last, **_content(_file(folder, last, "over")))


def ended(links: Sequence[Link]) -> list[LinkEnd]:
    """Return how the links ended, without those that run and those that were withdrawn."""
    return [
        LinkEnd(link.outcome, link.progressed)
        for link in links
        if not link.is_open and link.outcome != WITHDRAWN
    ]


def _link(folder: TaskFolder, number: int, *, ended: bool) -> Link:
    name, parts = _content(_file(folder, number, "begun"))["before"]
    end = _content(_file(folder, number, "ended")) if ended else {}
    return Link(number, (name, parts), **end)


def _there(folder: TaskFolder) -> dict[str, set[int]]:
    """Return the numbers of the links, by the kind of file that each has."""
    found: dict[str, set[int]] = {"begun": set(), "ended": set(), "over": set()}
    try:
        names = os.listdir(folder.chain)  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return found
    for name in names:
        number, _, rest = name.partition("-")
        kind, _, suffix = rest.partition(".")
        if kind in found and suffix == "json" and number.isdecimal():
            found[kind].add(int(number))
    return found


def _file(folder: TaskFolder, number: int, kind: str) -> str:
    return f"{folder.chain}/{number:04d}-{kind}.json"


def _content(path: str) -> dict[str, Any]:
    """Return the content of a file, which never changes; a long chain has hundreds."""
    found = os.stat(path)  # noqa: PTH116 - quick
    return _parsed(path, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=4096)
def _parsed(path: str, inode: int, changed: int) -> dict[str, Any]:  # noqa: ARG001 - tell files apart
    content = read_json(Path(path))
    if content is None:
        message = f"{path}: gone while it was read."
        raise FileNotFoundError(message)
    return content
