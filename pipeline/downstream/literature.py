"""Numbers that others published of a downstream task, each with its source.

A task that has some keeps them in `published.py` of its folder, as `LITERATURE`. Scores bear our
names where they are the same quantity. "As quoted": read in a catalogue or a reproduction that
quotes the source, not in the source itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a publication: its scores by our names, efficiencies and purities as fractions."""

    benchmark: str
    method: str
    scores: Mapping[str, float]
    source: str
    note: str = ""


@dataclass(frozen=True)
class Literature:
    """The published numbers of one task, and where sources disagree."""

    rows: Sequence[Published]
    disagreements: Sequence[str] = ()

    @property
    def benchmarks(self) -> dict[str, list[Published]]:
        """The rows of each benchmark."""
        found: dict[str, list[Published]] = {}
        for row in self.rows:
            found.setdefault(row.benchmark, []).append(row)
        return found
