"""Take out of a ledger what is damaged, and mark what is gone, so that it can be read again.

Accounting then says once more what the lost records said (`pipeline.chains.settlement`).
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.budget import record_files
from pipeline.budget.record_files import LedgerError
from pipeline.writing import create_text, make_folder

DAMAGED = "damaged"


@dataclass(frozen=True)
class Lost:
    """The files of damaged records, which are kept in `damaged/`, and the numbers of all lost."""

    damaged: tuple[str, ...]
    numbers: tuple[int, ...]


def mark_lost(folder: Path) -> Lost:
    """Move damaged records of the ledger in `folder` aside, and mark all lost numbers as lost.

    Raises:
        OSError: The folder cannot be written.
    """
    found = record_files.names(folder)
    damaged = sorted(name for name in found if _is_damaged(folder / name))
    for name in damaged:
        make_folder(folder / DAMAGED)
        (folder / name).rename(folder / DAMAGED / name)
    numbers = record_files.missing(folder, found - set(damaged), record_files.counted(folder))
    for number in numbers:
        create_text(folder / record_files.name_of(number), record_files.sealed(None))
    return Lost(tuple(damaged), tuple(numbers))


def _is_damaged(path: Path) -> bool:
    try:
        record_files.read(path)
    except LedgerError:
        return True
    return False
