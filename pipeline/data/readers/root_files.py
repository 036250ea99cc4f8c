"""Open trees of ROOT files, with clear messages for damaged ones."""

import contextlib
import importlib
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cramjam
import uproot
from uproot.behaviors.RNTuple import RNTuple

from pipeline.data import files
from pipeline.data.errors import BadInput


def use_isal() -> tuple[type[Exception], ...]:
    """Let uproot unpack by ISA-L, in half of zlib's time; return what that raises of damage.

    uproot knows ISA-L, but its public switch is for writing alone. Where ISA-L is not installed, or
    uproot has changed, zlib stays.
    """
    unpacker = getattr(uproot.compression, "_decompress_ZLIB", None)
    before = getattr(unpacker, "library", None)
    if unpacker is None or before is None:
        return ()
    try:
        isal = importlib.import_module("isal.isal_zlib")
        unpacker.library = "isal"
        if unpacker.decompress(zlib.compress(b"tried"), 5) == b"tried":
            return (isal.error,)
    except (ImportError, AttributeError, TypeError, ValueError):
        pass
    unpacker.library = before
    return ()


DAMAGED = (
    uproot.DeserializationError,
    cramjam.DecompressionError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # of a length that damage made absurd
    NameError,  # uproot forgets a variable when a block is cut short
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    *use_isal(),
)
whole = partial(files.whole, kind="ROOT file", faults=DAMAGED)


@contextlib.contextmanager
def opened_tree(path: Path, name: str, maker: str) -> Iterator[Any]:
    """Open the tree or RNTuple `name` of `path`, a file as `maker` writes them.

    Raises:
        BadInput: The file is damaged, or holds no such tree.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            file = stack.enter_context(uproot.open(path))
            kinds = file.classnames(cycle=False)
            tree = file.get(name)
        if not isinstance(tree, uproot.TTree | RNTuple):
            there = ", ".join(f"{each} ({kind})" for each, kind in kinds.items())
            message = (
                f"{path}: no TTree {name!r}, only {there or 'nothing'}. Expected a file of {maker}."
            )
            raise BadInput(message)
        yield tree
