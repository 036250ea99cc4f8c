"""GraphNeT's SQLite databases: a table of pulses and a table of truth, joined by event_no.

A range of events is a range of event_no, so only its pulses are in memory, and the ids of all
events. Where a table has no index on event_no, one is made in a temporary file of SQLite's, since
the database itself is opened for reading only.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.data import files
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.graphnet import EVENT, ICECUBE86, Layout
from pipeline.data.experiments.prometheus import PHOTONS
from pipeline.data.readers.graphnet import Chosen, assembled, chosen
from pipeline.data.readers.runs import check_once

FIRST, LAST = -(2**63), 2**63 - 1
whole = partial(files.whole, kind="SQLite database", faults=(sqlite3.Error,))
Wanted = Mapping[str, tuple[str, type]]


@contextlib.contextmanager
def _opened(path: Path, layout: Layout, pulses: str = "") -> Iterator[Entries]:
    """Open the database `path`, its events in the order of event_no; none is ever rejected.

    Raises:
        BadInput: It is damaged, or has not one table of pulses, or an event comes twice.
    """
    with whole(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(connection):
        with whole(path):
            database = Database(path, connection)
            tables = chosen(path, layout, database.tables(), pulses)
            database.check_owned(tables.pulses)
            event_no = database.event_ids(tables.truth or tables.pulses, bool(tables.truth))

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            with whole(path):
                found = _Range(database, tables, event_no, start, stop)
                sizes, pulses = found.pulses()
                events = assembled(
                    path,
                    layout,
                    start=start,
                    sizes=sizes,
                    pulses=pulses,
                    truth=found.truth(),
                    event_no=event_no[start:stop],
                )
            return events, {}

        yield Entries(len(event_no), read)


open_icecube = partial(_opened, layout=ICECUBE86)
open_prometheus = partial(_opened, layout=PHOTONS)


def quoted(name: str) -> str:
    """Return `name` as SQL writes a table or column."""
    return '"' + name.replace('"', '""') + '"'


def _whole_number(name: str) -> str:
    """Return the SQL of a column's whole numbers, however stored; NULL where it holds others."""
    column = f"t.{quoted(name)}"
    return f"CASE WHEN {column} = CAST({column} AS INTEGER) THEN CAST({column} AS INTEGER) END"


@dataclass
class Database:
    """An open database whose tables are read by ranges of event_no."""

    path: Path
    connection: sqlite3.Connection
    _sources: dict[str, str] = field(default_factory=dict)

    def tables(self) -> dict[str, list[str]]:
        """Return the columns of each table that has event_no."""
        listed = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        columns = {name: self._columns(name) for (name,) in listed.fetchall()}
        return {name: names for name, names in columns.items() if EVENT in names}

    def _columns(self, table: str) -> list[str]:
        listed = self.connection.execute(f"PRAGMA table_info({quoted(table)})")
        return [name for _, name, *_ in listed]

    def check_owned(self, table: str) -> None:
        """Check that each row of `table` has an event_no, which no range would meet otherwise.

        Raises:
            BadInput: One has none, or has text.
        """
        event = quoted(EVENT)
        query = f"SELECT COUNT(*) FROM {quoted(table)} WHERE {event} IS NULL OR {event} > ?"  # noqa: S608
        (count,) = self.connection.execute(query, (LAST,)).fetchone()
        if count:
            message = (
                f"{self.path}: table {table} has {count} rows whose {EVENT} is no number. "
                "Make the file again, or leave it out of the dataset."
            )
            raise BadInput(message)

    def event_ids(self, table: str, each_once: bool) -> Integers:
        """Return event_no of all events in `table`, rising.

        Raises:
            BadInput: One is no whole number, or comes more than once where it must not.
        """
        distinct = "" if each_once else "DISTINCT"
        query = f"SELECT {distinct} {_whole_number(EVENT)} FROM {quoted(table)} AS t"  # noqa: S608
        ids = self._numbers(query, (), np.dtype([(EVENT, np.int64)]), table)[EVENT]
        if each_once:
            check_once(self.path, EVENT, ids)
        return np.sort(ids)

    def rows(self, table: str, wanted: Wanted, after: int, last: int) -> Array:
        """Return `wanted`, our names to columns and types, of events `after` < event_no <= `last`.

        Rows come by event_no, and as they lie in the table.

        Raises:
            BadInput: A number is no number, or not whole where it must be.
        """
        sql = {
            name: _whole_number(column) if kind is np.int64 else f"t.{quoted(column)}"
            for name, (column, kind) in wanted.items()
        }
        query = f"SELECT {', '.join(sql.values())} {self._source(table)}"
        kinds = np.dtype([(name, kind) for name, (_, kind) in wanted.items()])
        return self._numbers(query, (after, last), kinds, table)

    def _numbers(
        self, query: str, bounds: tuple[int, ...], kinds: np.dtype[np.void], table: str
    ) -> Array:
        try:
            return np.fromiter(self.connection.execute(query, bounds), kinds)
        except (TypeError, ValueError, OverflowError) as error:
            message = (
                f"{self.path}: table {table} lacks a number, or has text or a fraction instead "
                f"of it ({error}). Make the file again, or leave it out of the dataset."
            )
            raise BadInput(message) from error

    def _source(self, table: str) -> str:
        """Return the SQL that yields the rows `t` of a range of event_no, in order."""
        if table not in self._sources:
            table_of_rows = "" if self._has_index(table) else self._indexed(table)
            if table_of_rows:
                join = f"FROM temp.{table_of_rows} AS k CROSS JOIN main.{quoted(table)} AS t"
                self._sources[table] = (
                    f"{join} ON t.rowid = k.position WHERE k.event > ? AND k.event <= ? "
                    "ORDER BY k.event, k.position"
                )
            else:
                event = f"t.{quoted(EVENT)}"
                self._sources[table] = (
                    f"FROM {quoted(table)} AS t WHERE {event} > ? AND {event} <= ? "
                    f"ORDER BY {event}, t.rowid"
                )
        return self._sources[table]

    def _has_index(self, table: str) -> bool:
        """Return whether an index, or the table itself, is sorted by event_no first."""
        info = self.connection.execute(f"PRAGMA table_info({quoted(table)})")
        if any(
            name == EVENT and kind.upper() == "INTEGER" and key == 1
            for _, name, kind, *_, key in info
        ):
            return True
        indexes = self.connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall()
        firsts = [
            self.connection.execute(f"PRAGMA index_info({quoted(name)})").fetchone()
            for _, name, *_ in indexes
        ]
        return any(first is not None and first[2] == EVENT for first in firsts)

    def _indexed(self, table: str) -> str:
        """Make an index of `table` in a temporary file; return its name."""
        table_of_rows = quoted(f"positions of {table}")
        self.connection.execute(
            f"CREATE TEMP TABLE {table_of_rows} (event INTEGER, position INTEGER, "
            "PRIMARY KEY (event, position)) WITHOUT ROWID"
        )
        self.connection.execute(
            f"INSERT INTO temp.{table_of_rows} SELECT {quoted(EVENT)}, rowid "  # noqa: S608
            f"FROM main.{quoted(table)} ORDER BY 1, 2"
        )
        return table_of_rows


@dataclass(frozen=True)
class _Range:
    """The events `start` to `stop` among `event_no`."""

    database: Database
    tables: Chosen
    event_no: Integers
    start: int
    stop: int

    @property
    def bounds(self) -> tuple[int, int]:
        """Bounds of event_no, so that no row falls between two ranges."""
        after = self.event_no[self.start - 1] if self.start else FIRST
        last = self.event_no[self.stop - 1] if self.stop < len(self.event_no) else LAST
        return int(after), int(last)

    def pulses(self) -> tuple[Integers, dict[str, Array]]:
        """Return the number of pulses of each event, and what is known of them.

        Raises:
            BadInput: Pulses are of no event in the truth.
        """
        wanted = {
            EVENT: (EVENT, np.int64),
            **{name: (column, np.float64) for name, column in self.tables.reals.items()},
            **{name: (column, np.int64) for name, column in self.tables.integers.items()},
        }
        rows = self.database.rows(self.tables.pulses, wanted, *self.bounds)
        mine = self.event_no[self.start : self.stop]
        index = np.minimum(np.searchsorted(mine, rows[EVENT]), len(mine) - 1)
        strange = mine[index] != rows[EVENT]
        if strange.any():
            message = (
                f"{self.database.path}: {EVENT} {rows[EVENT][np.argmax(strange)]} has pulses in "
                f"{self.tables.pulses}, but no row in {self.tables.truth}. Make the file again."
            )
            raise BadInput(message)
        return np.bincount(index, minlength=len(mine)), {name: rows[name] for name in wanted}

    def truth(self) -> dict[str, Array]:
        """Return what is known of each event; NaN where it is not."""
        labels = self.tables.labels
        if not labels:
            return {}
        wanted = {name: (column, np.float64) for name, column in labels.items()}
        rows = self.database.rows(self.tables.truth, wanted, *self.bounds)
        return {name: rows[name] for name in labels}
