"""Branches of a ROOT tree, decoded once each: flat values without objects in between.

A range of entries is cut from whole baskets, the units that ROOT compresses. The last basket of
each branch stays in memory for the range that follows, so memory is bounded by the range and one
basket a branch, whatever the file's size.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import isal.isal_zlib
import numpy as np
import numpy.typing as npt
import uproot
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Integers

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

# ISA-L takes half of zlib's time. uproot knows it, but its public switch is for writing alone.
if hasattr(uproot.compression, "_decompress_ZLIB"):
    uproot.compression._decompress_ZLIB.library = "isal"  # noqa: SLF001
WORD = 4  # bytes: everything ragged is float or int
DAMAGED = (
    uproot.DeserializationError,
    cramjam.DecompressionError,
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,  # of a length that damage made absurd
    RecursionError,
    NotImplementedError,
    struct.error,
    zlib.error,
    isal.isal_zlib.error,
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


@contextlib.contextmanager
def opened_tree(path: Path, name: str, maker: str) -> Iterator[Any]:
    """Open the tree `name` of `path`, a file as `maker` writes them.

    Raises:
        BadInput: The file is damaged, or holds no such tree.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            file = stack.enter_context(uproot.open(path))
            kinds = file.classnames(cycle=False)
            if not isinstance(file.get(name), uproot.TTree):
                there = ", ".join(f"{each} ({kind})" for each, kind in kinds.items())
                message = (
                    f"{path}: no TTree {name!r}, only {there or 'nothing'}. "
                    f"Expected a file of {maker}."
                )
                raise BadInput(message)
            tree = file[name]
        yield tree


@dataclass(frozen=True)
class Part:
    """A stretch of one basket: the basket's bytes and where each of its entries begins and ends."""

    data: Bytes
    begins: Integers

    def __len__(self) -> int:
        return len(self.begins) - 1


class Branch:
    """One branch of numbers, flat or ragged, of which ranges are read in rising order.

    Raises:
        BadInput: Its type is another than one or several numbers an entry.
    """

    def __init__(self, path: Path, branch: Any) -> None:
        self.path, self.name = path, branch.name
        self._branch = branch
        self._entries = np.asarray(branch.entry_offsets, np.int64)
        self._held: tuple[int, Part] | None = None
        kind = interpretation(branch)
        self.is_ragged = isinstance(kind, AsJagged)
        self._header = kind.header_bytes if self.is_ragged else 0
        number = kind.content if self.is_ragged else kind
        if not isinstance(number, AsDtype) or number.inner_shape:
            message = f"{path}: branch {self.name} has type {branch.typename}; expected numbers."
            raise BadInput(message)
        self.dtype = np.dtype(number.from_dtype)
        if self.is_ragged and self.dtype.itemsize != WORD:
            message = (
                f"{path}: branch {self.name} has type {branch.typename}; expected vector<float> or "
                "vector<int>. Take the file as it was released."
            )
            raise BadInput(message)

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the entries `start` to `stop`, basket by basket."""
        number = int(np.searchsorted(self._entries, start, side="right")) - 1
        while number < len(self._entries) - 1 and self._entries[number] < stop:
            begin, end = self._entries[number : number + 2]
            basket = self._basket(number)
            first, last = max(start, begin) - begin, min(stop, end) - begin
            yield Part(basket.data, basket.begins[first : last + 1])
            number += 1

    def sizes(self, parts: list[Part]) -> Integers:
        """Return how many numbers each entry (E) of `parts` has."""
        sizes = [np.diff(part.begins) - self._header for part in parts]
        return np.concatenate([np.zeros(0, np.int64), *sizes]) // WORD

    def values(self, start: int, stop: int) -> Array:
        """Return the entries (E) `start` to `stop` of a flat branch, in the machine's byte order.

        Raises:
            BadInput: There are none or several numbers an entry.
        """
        if self.is_ragged:
            message = f"{self.path}: branch {self.name} is ragged; expected one number an event."
            raise BadInput(message)
        some = [
            part.data[part.begins[0] : part.begins[-1]].view(self.dtype)
            for part in self.parts(start, stop)
        ]
        joined: Array = np.concatenate(some)
        return joined.astype(self.dtype.newbyteorder("="), copy=False)

    def fill(self, out: Words, parts: list[Part]) -> None:
        """Write the numbers of `parts` into `out` (P), as the bits of the branch's own type."""
        row = 0
        for part in parts:
            content = part.data[part.begins[0] : part.begins[-1]]
            if self._header:
                content = _without_headers(content, part.begins[:-1] - part.begins[0], self._header)
            words = content.view(">u4")
            out[row : row + len(words)] = words
            row += len(words)

    def _basket(self, number: int) -> Part:
        if self._held is None or self._held[0] != number:
            self._held = None  # frees the basket before the next one is unpacked
            self._held = (number, self._decoded(number))
        return self._held[1]

    def _decoded(self, number: int) -> Part:
        """Return basket `number`, checked: nothing may be read beyond its end.

        Raises:
            BadInput: Its entries do not fit its bytes.
        """
        basket = self._branch.basket(number)
        data = np.ascontiguousarray(basket.data).view(np.uint8)
        count = int(self._entries[number + 1] - self._entries[number])
        begins = np.zeros(0, np.int64)
        if self.is_ragged and basket.byte_offsets is not None:
            begins = np.asarray(basket.byte_offsets, np.int64)
        elif count * self.dtype.itemsize == len(data):  # else `count` may be absurd
            begins = np.arange(count + 1) * self.dtype.itemsize
        if len(begins) != count + 1 or not self._fits(begins, len(data)):
            message = (
                f"{self.path}: basket {number} of branch {self.name} does not hold the {count} "
                "entries it should. Fetch or make the file again."
            )
            raise BadInput(message)
        return Part(data, begins)

    def _fits(self, begins: Integers, size: int) -> bool:
        """Return whether entries that begin there fill `size` bytes with headers and words."""
        if begins[0] != 0 or begins[-1] != size:
            return False
        lengths = np.diff(begins) - self._header
        return not (np.any(lengths < 0) or np.any(lengths % WORD * self.is_ragged))


def interpretation(branch: Any) -> Any:
    """Return how uproot reads `branch`."""
    return branch.interpretation


def branches(path: Path, tree: Any, names: tuple[str, ...], maker: str) -> dict[str, Branch]:
    """Return the branches `names` of `tree`.

    Raises:
        BadInput: One is missing or no branch of numbers.
    """
    missing = [name for name in names if name not in tree]
    if missing:
        message = (
            f"{path}: tree {tree.name!r} has no branch {', '.join(missing)}. "
            f"Expected a file of {maker}."
        )
        raise BadInput(message)
    return {name: Branch(path, tree[name]) for name in names}


def _without_headers(content: Bytes, begins: Integers, header: int) -> Array:
    """Return the bytes of entries that begin at `begins` (E) with `header` bytes each, less these.

    They are moved in the largest units that header and numbers both fill: two bytes for a vector's.
    """
    unit = int(np.gcd(header, WORD))
    units = content.view(f"u{unit}")
    keep = np.ones(len(units), np.bool_)
    for place in range(header // unit):
        keep[begins // unit + place] = False
    kept: Array = units[keep]
    return kept
