"""Branches of a ROOT tree, decoded once each: flat values without objects in between.

A range of entries is cut from whole baskets, the units that ROOT compresses. The last basket of
each branch stays in memory for the range that follows, so memory is bounded by the range and one
basket a branch, whatever the file's size. Axes: E entries, N numbers of all of them.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import uproot
from uproot.compression import Compression
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Floats, Integers, offsets_of
from pipeline.data.readers.exact import exact
from pipeline.data.readers.root_files import whole

Bytes = npt.NDArray[np.uint8]


# What each compression of ROOT checks as it unpacks; zstd has nothing.
CHECKSUMS = {"ZLIB": "Adler-32", "LZMA": "CRC-32", "LZ4": "XXH64"}


@dataclass(frozen=True)
class Part:
    """A stretch of one basket: the basket's bytes and where each of its entries begins and ends."""

    data: Bytes
    begins: Integers


class Branch:
    """One branch of numbers, `ragged` or one an entry; ranges that rise decode it once.

    Raises:
        BadInput: Its type is another.
    """

    def __init__(self, path: Path, branch: Any, *, ragged: bool) -> None:
        self.path, self.name, self.type = path, branch.name, branch.typename
        self._branch = branch
        self._entries = np.asarray(branch.entry_offsets, np.int64)
        self._held: tuple[int, Part] | None = None
        kind = interpretation(branch)
        self._ragged = isinstance(kind, AsJagged)
        self._header = kind.header_bytes if self._ragged else 0
        number = kind.content if self._ragged else kind
        self.dtype = np.dtype(number.from_dtype if isinstance(number, AsDtype) else object)
        if self.dtype.kind not in "biuf" or self._ragged != ragged:
            self.refuse("an array of numbers an entry" if ragged else "one number an entry")

    @property
    def compression(self) -> str:
        """The name of what its baskets are compressed by, "" for nothing that is known."""
        if not isinstance(self._branch, uproot.TBranch):
            return ""
        code = self._branch.file.fCompress  # of the file, where the branch has none of its own
        found = self._branch.compression or Compression.from_code_pair(code // 100, code % 100)
        return type(found).__name__ if found is not None and found.level else ""

    def refuse(self, expected: str) -> NoReturn:
        """Say that the branch has another type than `expected`.

        Raises:
            BadInput: Always.
        """
        message = (
            f"{self.path}: branch {self.name} has type {self.type}; expected {expected}. "
            "Take the file as it was released, or make it again."
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
        return np.concatenate([np.zeros(0, np.int64), *sizes]) // self.dtype.itemsize

    def numbers(self, part: Part) -> Array:
        """Return the numbers (N) of `part`, in the file's byte order."""
        content = part.data[part.begins[0] : part.begins[-1]]
        if self._header:
            begins = part.begins[:-1] - part.begins[0]
            content = _without_headers(content, begins, self._header, self.dtype.itemsize)
        return content.view(self.dtype)

    def joined(self, parts: list[Part]) -> Array:
        """Return the numbers (N) of `parts` in the machine's byte order."""
        native = self.dtype.newbyteorder("=")
        numbers = [self.numbers(part) for part in parts]
        return np.concatenate([np.zeros(0, native), *numbers], dtype=native)

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
        begin, end = map(int, self._entries[number : number + 2])
        begins = np.zeros(0, np.int64)
        if not self._ragged:
            if (end - begin) * self.dtype.itemsize == len(data):  # else `end` may be absurd
                begins = np.arange(end - begin + 1) * self.dtype.itemsize
        elif basket.byte_offsets is not None:
            begins = np.asarray(basket.byte_offsets, np.int64)
        elif self._branch.count_branch is not None:  # ROOT omits offsets that counters give
            counter = self._branch.count_branch
            counts = counter.array(entry_start=begin, entry_stop=end, library="np")
            begins = offsets_of(counts) * self.dtype.itemsize
        if len(begins) != end - begin + 1 or not self._fits(begins, len(data)):
            message = (
                f"{self.path}: basket {number} of branch {self.name} does not hold the "
                f"{end - begin} entries it should. Fetch or make the file again."
            )
            raise BadInput(message)
        return Part(data, begins)

    def _fits(self, begins: Integers, size: int) -> bool:
        """Return whether entries that begin there fill `size` bytes with headers and numbers."""
        if begins[0] != 0 or begins[-1] != size:
            return False
        lengths = np.diff(begins) - self._header
        return not (np.any(lengths < 0) or np.any(lengths % self.dtype.itemsize))


class Field(Branch):
    """A field of numbers of an RNTuple, ROOT's successor of trees; read as a branch is.

    Raises:
        BadInput: Its type is another.
    """

    def __init__(self, path: Path, field: Any, *, ragged: bool) -> None:
        self.path, self.name, self.type = path, field.name, field.typename
        self._branch, self._ragged, self._header = field, ragged, 0
        layout = self._layout(0, 0)
        content = layout.content if ragged and layout.is_list else layout
        if layout.is_list != ragged or not content.is_numpy or content.inner_shape:
            self.refuse("an array of numbers an entry" if ragged else "one number an entry")
        self.dtype = np.dtype(content.dtype)

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the entries `start` to `stop` in one part."""
        layout = self._layout(start, stop)
        numbers = layout.content if self._ragged else layout
        begins = layout.offsets.data if self._ragged else np.arange(stop - start + 1)
        data = np.ascontiguousarray(numbers.data).view(np.uint8)
        yield Part(data, np.asarray(begins, np.int64) * self.dtype.itemsize)

    def _layout(self, start: int, stop: int) -> Any:
        """Return the entries as awkward's buffers, without gaps, from offset 0 on."""
        return self._branch.array(entry_start=start, entry_stop=stop).layout.to_packed()


@dataclass(frozen=True)
class Column:
    """A range of entries of a ragged branch: `sizes` (E) numbers each, still as in the file."""

    branch: Branch
    parts: list[Part]
    sizes: Integers

    def fill(self, out: Array) -> None:
        """Write the numbers into `out` (N)."""
        row = 0
        for part in self.parts:
            numbers = self.branch.numbers(part)
            out[row : row + len(numbers)] = numbers
            row += len(numbers)

    def values(self) -> Array:
        """Return the numbers (N) in the branch's type, in the machine's byte order."""
        return self.branch.joined(self.parts)


@dataclass(frozen=True)
class Tree:
    """A tree of the file `path`: how many `entries` it has, and the branches that are read.

    `checksum` is what every compressed basket has, "" where those of a branch have none; a basket
    that did not become smaller is stored as it is, without one.
    """

    path: Path
    name: str
    entries: int
    branches: Mapping[str, Branch]
    checksum: str

    def columns(self, names: tuple[str, ...], start: int, stop: int) -> Iterator[Column]:
        """Yield the entries `start` to `stop` of ragged branches, one after another.

        Raises:
            BadInput: The file is damaged, or a branch differs in length from the first.
        """
        sizes: Integers | None = None
        for name in names:
            branch = self.branches[name]
            with whole(self.path):
                parts = list(branch.parts(start, stop))
            found = branch.sizes(parts)
            sizes = found if sizes is None else sizes
            if not np.array_equal(sizes, found):
                message = (
                    f"{self.path}: branches {names[0]} and {name} of tree {self.name!r} differ in "
                    f"length in entries {start} to {stop}. Fetch or make the file again."
                )
                raise BadInput(message)
            yield Column(branch, parts, sizes)

    def flat(self, names: tuple[str, ...], start: int, stop: int) -> dict[str, Array]:
        """Return the entries (E) `start` to `stop` of branches of one number an entry.

        Raises:
            BadInput: The file is damaged.
        """
        with whole(self.path):
            branches = {name: self.branches[name] for name in names}
            return {
                name: each.joined(list(each.parts(start, stop))) for name, each in branches.items()
            }


def tree_of(
    path: Path, tree: Any, maker: str, *, ragged: tuple[str, ...], flat: tuple[str, ...] = ()
) -> Tree:
    """Return the open `tree`, or RNTuple, with the branches `ragged` and `flat`.

    Raises:
        BadInput: One is missing or of another type, or the file is damaged.
    """
    missing = [name for name in (*ragged, *flat) if name not in tree]
    if missing:
        message = (
            f"{path}: tree {tree.name!r} has no branch {', '.join(missing)}. "
            f"Expected a file of {maker}."
        )
        raise BadInput(message)
    kind = Branch if isinstance(tree, uproot.TTree) else Field
    with whole(path):
        found = {name: kind(path, tree[name], ragged=True) for name in ragged}
        found |= {name: kind(path, tree[name], ragged=False) for name in flat}
        counted = np.atleast_1d(tree.num_entries)  # old versions of ROOT: a floating-point number
        entries = int(exact(path, "number of entries", counted, np.int64)[0])
        return Tree(path, tree.name, entries, found, _checksum(found.values()))


def _checksum(branches: Iterable[Branch]) -> str:
    """Return the checksum that the compressed baskets of all `branches` have, "" for none."""
    kinds = {each.compression for each in branches}
    if not kinds <= set(CHECKSUMS):
        return ""
    return f"{' and '.join(sorted(CHECKSUMS[each] for each in kinds))} of compressed baskets"


def stacked(columns: Iterator[Column], count: int) -> tuple[Floats, Integers]:
    """Return the next `count` of `columns` as one matrix (N, count), and their sizes (E)."""
    first = next(columns)
    matrix = np.empty((int(first.sizes.sum()), count), np.float32)
    chosen = itertools.chain((first,), itertools.islice(columns, count - 1))
    for number, column in enumerate(chosen):
        column.fill(matrix[:, number])
    return matrix, first.sizes


def interpretation(branch: Any) -> Any:
    """Return how uproot reads `branch`."""
    return branch.interpretation


def _without_headers(content: Bytes, begins: Integers, header: int, width: int) -> Array:
    """Return the bytes of entries that begin at `begins` (E) with `header` bytes each, less these.

    They are moved in the largest units that fill both the header and numbers of `width` bytes: two
    bytes for a vector's.
    """
    unit = int(np.gcd(header, width))
    units = content.view(f"u{unit}")
    keep = np.ones(len(units), np.bool_)
    for number in range(header // unit):
        keep[begins // unit + number] = False
    kept: Array = units[keep]
    return kept
