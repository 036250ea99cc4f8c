"""Ragged branches of a ROOT tree, read forward: no basket is decoded twice.

A basket is the smallest thing ROOT can decode, a few MiB as ROOT writes them, all of one `extend`
as uproot does. What is held is the range asked for and what is left of one basket a branch.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Integers, offsets_of

DAMAGED = (
    uproot.DeserializationError,
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NameError,  # uproot forgets a variable when a block is cut short
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turn what uproot raises of a damaged file into one message.

    Raises:
        BadInput: The body met a fault of the file.
    """
    try:
        yield
    except BadInput:
        raise
    except DAMAGED as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        message = f"{path}: not a whole ROOT file ({reason}). Fetch or make it again."
        raise BadInput(message) from error


class Branch:
    """A branch with any number of values an entry, of which ranges of entries are read."""

    def __init__(self, branch: Any) -> None:
        self._branch = branch
        self._limits = np.asarray(branch.entry_offsets, np.int64)
        self._first, self._values, self._offsets = 0, np.zeros(0), np.zeros(1, np.int64)

    def read(self, start: int, stop: int) -> tuple[Array, Integers]:
        """Return the values (N) of the entries `start` to `stop`, and how many each has."""
        last = self._first + len(self._offsets) - 1
        if not self._first <= start < last:
            basket = np.searchsorted(self._limits, start, side="right") - 1
            self._first = last = int(self._limits[basket])
            self._values, self._offsets = self._values[:0], np.zeros(1, np.int64)
        if stop > last:
            self._extend(start, last, int(self._limits[np.searchsorted(self._limits, stop)]))
        rows = self._offsets[start - self._first : stop - self._first + 1]
        return self._values[rows[0] : rows[-1]], np.diff(rows)

    def _extend(self, start: int, last: int, end: int) -> None:
        """Hold the entries `start` to `end`, of which those before `last` are held already."""
        more = self._branch.array(entry_start=last, entry_stop=end, library="ak")
        values, sizes = ak.to_numpy(ak.flatten(more)), ak.to_numpy(ak.num(more))
        passed = min(start, last) - self._first
        kept = self._offsets[passed:]
        if len(kept) > 1:
            values = np.concatenate([self._values[kept[0] :], values])
            sizes = np.concatenate([np.diff(kept), sizes])
        self._first, self._values, self._offsets = self._first + passed, values, offsets_of(sizes)


@dataclass(frozen=True)
class Tree:
    """A tree of the file `path`: `entries` of them, and the branches that are read."""

    path: Path
    name: str
    entries: int
    branches: Mapping[str, Branch]

    def read(self, names: tuple[str, ...], start: int, stop: int) -> tuple[list[Array], Integers]:
        """Return the values (N) of each branch of `names`, and how many each entry has of all.

        Raises:
            BadInput: The file is damaged, or the branches differ in length.
        """
        with whole(self.path):
            found = [self.branches[name].read(start, stop) for name in names]
        sizes = found[0][1]
        for name, (_, other) in zip(names, found, strict=True):
            if not np.array_equal(sizes, other):
                message = (
                    f"{self.path}: branches {names[0]} and {name} of tree {self.name!r} differ in "
                    f"length in entries {start} to {stop}. Make the file again."
                )
                raise BadInput(message)
        return [values for values, _ in found], sizes


@contextlib.contextmanager
def open_tree(path: Path, name: str, maker: str) -> Iterator[Any]:
    """Open the tree `name` of `path`, which `maker` makes.

    Raises:
        BadInput: It is not there, is no tree, or is empty; or the file is damaged.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            file = stack.enter_context(uproot.open(path, array_cache=None))
            names = file.keys(cycle=False)
            found = file[name] if name in names else None
        if found is None:
            message = (
                f"{path}: no tree {name!r}, only {', '.join(names) or 'nothing'}. "
                f"Expected a file of {maker}."
            )
            raise BadInput(message)
        if not getattr(found, "num_entries", 0):
            message = (
                f"{path}: tree {name!r} holds no events. Leave the file out, or make it again."
            )
            raise BadInput(message)
        yield found


def tree_of(path: Path, tree: Any, wanted: tuple[str, ...], maker: str) -> Tree:
    """Return the open `tree` with the branches `wanted`.

    Raises:
        BadInput: It lacks one of them.
    """
    missing = [name for name in wanted if name not in tree]
    if missing:
        message = (
            f"{path}: tree {tree.name!r} has no branch {', '.join(missing)}. "
            f"Make the file with {maker} that writes them."
        )
        raise BadInput(message)
    with whole(path):
        return Tree(
            path, tree.name, tree.num_entries, {each: Branch(tree[each]) for each in wanted}
        )
