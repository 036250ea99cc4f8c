"""One event of an `events.npz`, as the program `evaluate` writes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KEYS = ("points", "offsets", "event_id")
ORIGIN = ("source", "entry")
NO_UNIT = ("", "1")
CHAMBER = ("energy", "eta", "phi", "r")  # what points are that do not say it


@dataclass(frozen=True)
class Event:
    """One event: its points by column, in physical units, and its truth and predictions.

    `columns` are (P) each. `arrays` begin with `true_` or `predicted_`, and are of its P points or
    of the event; `tables` are constants of the detector, `units` are those of the columns. `file`
    and `entry` are where the event comes from, empty and -1 where nobody knows.
    """

    id: int
    columns: Mapping[str, Floats]
    arrays: Mapping[str, NDArray[Any]]
    tables: Mapping[str, NDArray[Any]]
    units: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    entry: int = -1

    def label(self, name: str, of: str = "") -> str:
        """Return the words of an axis: a name, with the unit of the column `of` or its own."""
        unit = self.units.get(of or name, "")
        return name if unit in NO_UNIT else f"{name} [{unit}]"

    @property
    def title(self) -> str:
        """What a person finds the event by: file and entry, or its id."""
        if self.entry < 0:
            return f"event {self.id}"
        return f"{self.file.rsplit('/', 1)[-1]}, entry {self.entry}"

    def has(self, *names: str) -> bool:
        """Return whether all of these arrays are there."""
        return set(names) <= self.arrays.keys()

    @cached_property
    def position(self) -> Floats | None:
        """(P, 3) x, y, z in the unit of r, None where the points are not given by r, φ and η.

        x = r cos φ, y = r sin φ, z = r sinh η: η = −ln tan(θ/2) gives z/r = cot θ = sinh η.
        """
        if not {"eta", "phi", "r"} <= self.columns.keys():
            return None
        eta, phi, r = (self.columns[name] for name in ("eta", "phi", "r"))
        return np.stack([r * np.cos(phi), r * np.sin(phi), r * np.sinh(eta)], axis=1)


def events_of(arrays: Mapping[str, NDArray[Any]]) -> Iterator[Event]:
    """Yield the events of an `events.npz`."""
    if not arrays.keys() >= set(KEYS):
        return
    names = [str(name) for name in arrays.get("columns", CHAMBER)]
    points, offsets = arrays["points"].astype(np.float64), arrays["offsets"].astype(np.int64)
    answers = {n: each for n, each in arrays.items() if n.startswith(("true_", "predicted_"))}
    known = {*KEYS, *ORIGIN, "columns", "units", *answers}
    tables = {n: each for n, each in arrays.items() if n not in known}
    units = dict(zip(names, map(str, arrays.get("units", ())), strict=False))
    count = len(arrays["event_id"])
    sources = arrays.get("source", np.full(count, ""))
    entries = arrays.get("entry", np.full(count, -1))
    for index, event_id in enumerate(arrays["event_id"]):
        rows = slice(int(offsets[index]), int(offsets[index + 1]))
        yield Event(
            id=int(event_id),
            columns=dict(zip(names, points[rows].T, strict=False)),
            arrays={
                name: each[rows] if len(each) == len(points) else each[index]
                for name, each in answers.items()
            },
            tables=tables,
            units=units,
            file=str(sources[index]),
            entry=int(entries[index]),
        )
