"""The constants of a store, equal in all its source files: a detector's geometry."""

from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.writing import written

TABLES = "tables.npz"


def write_tables(store: Path, tables: dict[str, Array]) -> None:
    """Write `tables` into `store`, once, whole or not at all.

    Raises:
        BadInput: Others are there already.
    """
    path = store / TABLES
    if path.exists():
        check_tables(store, tables, str(path))
        return
    with written(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **tables)


def read_tables(store: Path) -> dict[str, Array]:
    """Return the tables of `store`; none if it has none."""
    path = store / TABLES
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive.items())


def check_tables(store: Path, tables: dict[str, Array], source: str) -> None:
    """Check that `source` has the tables that the store has.

    Raises:
        BadInput: It has others: its events are of another detector.
    """
    there = read_tables(store)
    names = sorted({*there, *tables})
    for name in names:
        if name not in there or name not in tables or not np.array_equal(there[name], tables[name]):
            message = (
                f"{source}: its table {name!r} is not that of {store}. All files of a dataset "
                "share one detector: stage the others into a store of their own."
            )
            raise BadInput(message)
