"""What makes sample files of one experiment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.campaign import Simulation


@dataclass(frozen=True)
class Made:
    """The files that were made, and what is in them; `counts` are totals of further things."""

    files: tuple[Path, ...]
    events: int
    points: int
    counts: dict[str, int] = field(default_factory=dict)


def nothing(paths: tuple[Path, ...]) -> None:
    """Do nothing more once all files are there."""


@dataclass(frozen=True)
class Simulator:
    """How sample files come about.

    `write(path, simulation, number, seed)` writes the file of that number, and what belongs to it,
    each whole or not at all, and depends on its arguments only. `finish(paths)` writes what only
    all files together make: an index of them; it may be run twice.
    """

    write: Callable[[Path, Simulation, int, int], Made]
    finish: Callable[[tuple[Path, ...]], None] = nothing
