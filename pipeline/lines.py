"""Files that grow by lines and may be gigabytes, read without holding more than a part of them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_BYTES = 64 << 10
MOST_BYTES = 1 << 20  # of the end of a log, or of a single line: more is nothing for a screen


def tail(path: Path, lines: int) -> tuple[str, int]:
    """Return the last `lines` of the file, and its size in bytes.

    They have at most `MOST_BYTES`; the first of them may lack its beginning.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        begin, content = size, b""
        while begin and len(content) < MOST_BYTES and content.count(b"\n") <= lines:
            begin = max(0, begin - BLOCK_BYTES)
            stream.seek(begin)
            content = stream.read(min(BLOCK_BYTES, size - begin)) + content
    text = content[-MOST_BYTES:].decode(errors="replace")
    kept = text.splitlines(keepends=True)[-lines:] if lines else []
    return "".join(kept), size


def added(path: Path, since: int) -> Iterator[bytes]:
    """Yield what the file has beyond its first `since` bytes, in parts."""
    with path.open("rb") as stream:
        stream.seek(since)
        while part := stream.read(MOST_BYTES):
            yield part


def whole_lines(path: Path) -> Iterator[str]:
    """Yield the complete lines of the file, without their ends and without a torn last line.

    There are none where there is no file.
    """
    for line, _ in lines_and_ends(path):
        yield line


def json_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield (object, where the next line begins) of each line of JSON, up to a damaged one.

    A node that loses its power may leave such lines, behind all that were synced.
    """
    for line, end in lines_and_ends(path):
        try:
            found = json.loads(line)
        except ValueError:
            return
        if not isinstance(found, dict):
            return
        yield found, end


def lines_and_ends(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (line, where the next one begins) of each complete line, in bytes of the file."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    end = 0
    with stream:
        for line in stream:
            end += len(line)
            if line.endswith(b"\n"):
                yield line[:-1].decode(errors="replace"), end
