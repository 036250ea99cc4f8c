"""Print ratios measured in one run: `python -m tests.benchmarks`. Nothing here asserts a time."""

import argparse
import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks.contest import Contest, Line, hold

WIDTH = 150
PACKAGES = ("numpy", "torch", "zarr", "zarrs", "h5py", "pyarrow", "uproot", "mmap_ninja")


@dataclass(frozen=True)
class Setting:
    """Where a subject may write, at how many times the usual size, on which cores if on several."""

    folder: Path
    scale: float
    cores: set[int]

    def __call__(self, usual: int) -> int:
        """Return how many there are, of `usual` at scale 1."""
        return max(2, round(usual * self.scale))


class _Modules:
    """The modules beside this one, each loaded when a subject needs it: some need a rival."""

    def __getattr__(self, name: str) -> Any:
        return import_module(f"tests.benchmarks.{name}")


of = _Modules()
Subject = Callable[[Setting], Iterable[Contest | Line | str]]
SUBJECTS: dict[str, Subject] = {
    "stage-jetclass": lambda at: of.staging.jetclass(at.folder, jets=at(20_000)),
    "stage-icecube": lambda at: of.staging.icecube(at.folder, events=at(4000)),
    "stage-npz": lambda at: [of.staging.npz(at.folder, events=at(400))],
    "workers": lambda at: of.workers.lines(at.folder, cores=at.cores, events=at(4000)),
    "load-sphenix": lambda at: of.loading.contests(
        at.folder, kind="sphenix", events=of.samples.events(at(4000))
    ),
    "load-jets": lambda at: of.loading.contests(
        at.folder, kind="jets", events=of.samples.jets(at(24_000))
    ),
    "cold-sphenix": lambda at: of.loading.cold(
        at.folder, kind="sphenix", events=of.samples.events(at(4000))
    ),
    "cold-jets": lambda at: of.loading.cold(
        at.folder, kind="jets", events=of.samples.jets(at(24_000))
    ),
    "bytes": lambda at: of.disk.lines(at.folder, scale=at.scale),
    "read": lambda at: of.reading.contests(at.folder, events=at(1000)),
    "neighbours": lambda at: [of.neighbours.contest(events=at(100))],
    "graphs": lambda at: of.graphs.contests(events=at(32)),
    "scan": lambda at: [
        of.scan.contest(points=at(1024)),
        of.scan.contest(points=at(2048)),
        of.scan.selective_contest(points=at(1024)),
    ],
    "attention": lambda at: of.transformers.contests(jets=at(64), events=at(4)),
    "attention-ways": lambda at: of.attention.contests(jets=at(256), events=at(8)),
    "interactions": lambda at: of.interactions.contests(jets=at(64)),
    "engine": lambda at: of.engine.lines(at.folder, cores=at.cores, rounds=at(10)),
    "predict": lambda at: of.predicting.lines(at.folder, jets=at(40_000)),
    "ledger": lambda at: [of.ledger.contest(at.folder, records=at(100))],
}


def table(lines: list[Line]) -> Table:
    """Return the lines as people read them."""
    shown = Table("what", "ours", "against", "theirs", "ratio", "aim", box=None, pad_edge=False)
    for line in lines:
        against = f"limit: {line.other}" if line.is_limit else line.other
        shown.add_row(line.what, line.ours, against, line.theirs, f"{line.ratio:.2f}", line.aim)
    return shown


def lines_of(
    found: Iterable[Contest | Line | str], repeats: int, notes: list[str]
) -> Iterator[Line]:
    """Yield the lines of what a subject found; put what it has to say into `notes`."""
    for each in found:
        if isinstance(each, Contest):
            yield from hold(each, repeats=repeats)
        elif isinstance(each, Line):
            yield each
        elif each not in notes:
            notes.append(each)


def options() -> argparse.Namespace:
    """Return what the command line asks for."""
    names = ", ".join(SUBJECTS)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", epilog=f"Names: {names}.")
    parser.add_argument("--scale", type=float, default=1.0, help="size of every contest")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of every contest")
    parser.add_argument("--only", metavar="NAME", action="append", choices=SUBJECTS)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the lines there, too")
    parser.add_argument("--profile", metavar="NAME", choices=SUBJECTS, help="profile our side")
    return parser.parse_args()


def _processor() -> str:
    """Return the name of the processor and the number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _versions() -> Iterator[str]:
    """Yield those of the `PACKAGES` that are installed, with their versions."""
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def main() -> None:
    """Hold all contests on one core, but for those of several, and print the table."""
    asked = options()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    torch.set_num_threads(1)
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), asked.scale, cores)
        if asked.profile:
            for each in SUBJECTS[asked.profile](setting):
                if isinstance(each, Contest):
                    of.profiling.show(each)
            return
        lines = [
            line
            for name in asked.only or SUBJECTS
            for line in lines_of(SUBJECTS[name](setting), asked.repeats, notes)
        ]
    console = Console(width=WIDTH)
    console.print(table(lines))
    versions = ", ".join(_versions())
    told = (
        *notes,
        "ratio = our rate / theirs: above 1 we are ahead; of a limit, the share that we reach.",
        "Of bytes, ours / theirs. Files lie in the page cache unless it says cold.",
        f"One core but for workers and the engine, {asked.repeats} interleaved rounds, medians.",
        f"{_processor()}, Python {platform.python_version()}, {versions}.",
    )
    console.print("\n".join(told), highlight=False, soft_wrap=True)
    if asked.json:
        content = {"lines": [asdict(line) for line in lines], "notes": told}
        asked.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
