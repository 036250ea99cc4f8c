"""What a downstream task predicts: how its arrays are named, and what unit they have, in a table.

Axes: E events, P points, C columns.
"""

from dataclasses import dataclass
from typing import Literal

PROBABILITY = "probability_{}"  # the column of a class
TRUTH_UNITS = {"pt_gev": "GeV", "azimuth": "rad", "zenith": "rad"}


@dataclass(frozen=True)
class Predicted:
    """One predicted array, (E, …) or (P, …): a column for each of `columns`; one for none.

    `unit` is that of all its columns, "" where only the store knows it, and "1" where there is
    none. `bytes` are those of one value.
    """

    per: Literal["event", "point"]
    columns: tuple[str, ...] = ()
    unit: str = ""
    bytes: int = 4

    @property
    def row_bytes(self) -> int:
        """The bytes of one event or point."""
        return self.bytes * max(1, len(self.columns))


def classes(per: Literal["event", "point"], names: tuple[str, ...]) -> Predicted:
    """Return the probabilities of the classes `names`, (E, C) or (P, C)."""
    return Predicted(per, tuple(PROBABILITY.format(name) for name in names), "1")
