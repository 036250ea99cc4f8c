"""Set the access times of files that a campaign still reads."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.planning.needed import Purge
from pipeline.run import Run


def touched(purges: Sequence[Purge]) -> int:
    """Set the access time of each of these files to now, and return their number.

    The time of the last change stays: it says when results were made.

    Raises:
        OSError: A file is another user's.
    """
    now = time.time_ns()
    paths = [path for each in purges for path in each.needed.files]
    for path in paths:
        os.utime(path, ns=(now, path.stat().st_mtime_ns))
    return len(paths)


def others(run: Run, purges: Sequence[Purge]) -> tuple[int, int]:
    """Return the number and the bytes of the files of `run` that are not among `purges`."""
    read = {path.absolute() for each in purges for path in each.needed.files}
    sizes = [
        path.lstat().st_size
        for where, _, names in os.walk(run.path)
        for name in names
        if (path := Path(where, name)).absolute() not in read
    ]
    return len(sizes), sum(sizes)
