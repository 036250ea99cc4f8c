"""The parts of a table of predictions, whole or absent, and the file that is made of them.

A part holds the same events whatever the number of processes: so each process makes some, what was
made before a kill is kept, and the file has the same bytes.
"""

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import claims
from pipeline.data.errors import BadInput
from pipeline.data.predictions.table import about, tables
from pipeline.writing import written

ROW_GROUP_BYTES = 32 << 20
COMPRESSION, LEVEL = "zstd", 1


@dataclass(frozen=True)
class Parts:
    """The parts in `folder` of a table of `events` rows, `part_events` each; the last may be less.

    `made_from` is what decides them: a part that says another is as good as absent.
    """

    folder: Path
    made_from: str
    events: int
    part_events: int

    @property
    def count(self) -> int:
        """How many parts there are."""
        return math.ceil(self.events / self.part_events)

    def path(self, number: int) -> Path:
        """Return the file of part `number`."""
        return self.folder / f"{number:06d}.parquet"

    def rows(self, number: int) -> int:
        """Return how many events part `number` has."""
        return min(self.part_events, self.events - number * self.part_events)

    def missing(self, rank: int = 0, ranks: int = 1) -> list[range]:
        """Return the parts that process `rank` of `ranks` has to make, in runs of neighbours.

        Its share of all parts are neighbours, so that it reads the store in one go.
        """
        share = range(rank * self.count // ranks, (rank + 1) * self.count // ranks)
        runs: list[range] = []
        for number in share:
            if is_whole(self.path(number), self.made_from, self.rows(number)):
                continue
            if runs and runs[-1].stop == number:
                runs[-1] = range(runs[-1].start, number + 1)
            else:
                runs.append(range(number, number + 1))
        return runs

    def merge(self, path: Path) -> None:
        """Write the rows of all parts to `path`, in order, and remove the parts.

        Raises:
            BadInput: A part is absent or damaged.
            OSError: The disk is full; nothing half-written stays.
        """
        for number in range(self.count):
            if not is_whole(self.path(number), self.made_from, self.rows(number)):
                message = f"{self.path(number)}: not there. Run the evaluation again."
                raise BadInput(message)
        write(path, (each for number in range(self.count) for each in tables(self.path(number))))
        self.remove()

    def remove(self) -> None:
        """Remove the parts, and what a killed process left of one."""
        shutil.rmtree(self.folder, ignore_errors=True)


def is_whole(path: Path, made_from: str, rows: int) -> bool:
    """Return whether `path` is a table of `rows` rows that says it is made from `made_from`.

    A file has its name only once all of it is on the disk.
    """
    if not path.is_file():
        return False
    try:
        return (
            bool(about(path)["made_from"] == made_from) and pq.read_metadata(path).num_rows == rows
        )
    except (BadInput, KeyError):
        return False


def write(path: Path, rows: Iterable[pa.Table]) -> int:
    """Write `rows` to `path` so that it stays, in large row groups; return how many there are.

    Raises:
        BadInput: There are none.
        OSError: The disk is full; nothing half-written stays.
    """
    return write_groups(path, grouped(rows))


def write_groups(path: Path, groups: Iterable[pa.Table]) -> int:
    """Write each of the `groups` as a row group, so that it stays; return how many rows there are.

    Raises:
        BadInput: There are none.
        OSError: The disk is full; nothing half-written stays.
    """
    count = 0
    with written(path) as unfinished:
        writer = None
        try:
            for group in groups:
                if writer is None:
                    writer = pq.ParquetWriter(
                        unfinished,
                        group.schema,
                        compression=COMPRESSION,
                        compression_level=LEVEL,
                        use_dictionary=["file"],  # of numbers it costs time and saves nothing
                        write_page_checksum=True,
                    )
                writer.write_table(group, row_group_size=max(1, len(group)))
                count += len(group)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            message = f"{path}: no events to write predictions of."
            raise BadInput(message)
        claims.confirm()
    return count


def grouped(rows: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield `rows` joined to tables of about `ROW_GROUP_BYTES`; the last one may be smaller."""
    held: list[pa.Table] = []
    size = 0
    for each in rows:
        held.append(each)
        size += each.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)
