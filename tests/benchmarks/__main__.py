"""Print ratios measured in one run: `python -m tests.benchmarks`. Nothing here asserts a time."""

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import ledger, neighbours, reading, scan, staging
from tests.benchmarks.contest import Contest, Line, hold

WIDTH = 130
PACKAGES = ("numpy", "torch", "zarr", "zarrs", "h5py")


def contests(folder: Path, scale: float) -> Iterator[Contest]:
    """Yield every contest, at `scale` times the usual size."""
    yield from reading.contests(folder, events=round(1000 * scale))
    yield staging.contest(folder, events=round(100 * scale))
    yield neighbours.contest(events=round(100 * scale))
    yield scan.contest(points=round(2048 * scale))
    yield ledger.contest(folder, records=round(100 * scale))


def table(lines: list[Line]) -> Table:
    """Return the lines as people read them."""
    shown = Table("what", "ours", "against", "theirs", "ratio", box=None, pad_edge=False)
    for line in lines:
        against = f"limit: {line.other}" if line.is_limit else line.other
        shown.add_row(line.what, line.ours, against, line.theirs, f"{line.ratio:.2f}")
    return shown


def main() -> None:
    """Hold all contests on one core and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--scale", type=float, default=1.0, help="size of every contest")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of every contest")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            line
            for contest in contests(Path(folder), options.scale)
            for line in hold(contest, repeats=options.repeats)
        ]
    console = Console(width=WIDTH)
    console.print(table(lines))
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    console.print(
        "ratio = our rate / theirs: above 1 we are ahead; of a limit, the share that we reach.\n"
        f"One core, {options.repeats} interleaved rounds, medians, files in the page cache. "
        f"{platform.machine()}, Python {platform.python_version()}, {versions}.",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
