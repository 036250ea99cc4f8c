"""The files of a ledger: numbered, sealed, counted.

`000000000007.json` is the seventh record; it is linked into place, so that each number is taken
once, by one process, and the order is the same for all readers, whatever their clocks say. Its last
entry is a SHA-256 of the rest. Beside the ledger, in `<ledger>-count`, one empty file bears the
highest number: so a record that is gone, the last ones or all of them too, is noticed. Ledgers of
earlier versions have files named by time, which come first.
"""

import contextlib
import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from pipeline.budget.record import Record
from pipeline.outcome import RunError
from pipeline.writing import create_text, make_folder

SUFFIX = ".json"
SEAL = ', "sha256": "{}"}}\n'
CURE = "Type: cosmotron budget CAMPAIGN --recover, which asks the scheduler's accounting again."


class LedgerError(RunError):
    """The ledger cannot be read or written; the message names the file and the way out."""

    def __init__(self, message: str, outcome: str = RunError.outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


def names(folder: Path) -> set[str]:
    """Return the names of the records in `folder`; quick where there are thousands."""
    try:
        found = os.listdir(folder)  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return set()
    return {name for name in found if name[0] != "." and name.endswith(SUFFIX)}


def number_of(name: str) -> int | None:
    """Return the number of a record's file, None for one that is named by its time."""
    stem = name.removesuffix(SUFFIX)
    return int(stem) if stem.isdecimal() else None


def name_of(number: int) -> str:
    """Return the file name of record `number`."""
    return f"{number:012d}{SUFFIX}"


def highest(found: set[str]) -> int:
    """Return the highest number among the names of records, 0 if none has one."""
    return max((number_of(name) or 0 for name in found), default=0)


def append(folder: Path, record: Record | None) -> Path:
    """Write `record` under the next number; return its file, which is whole or not there.

    None stands for a record that was lost (`recovery`).

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    number = max(highest(names(folder)), counted(folder))
    while True:
        number += 1
        path = folder / name_of(number)
        if create_text(path, sealed(record)):
            count(folder, number)
            return path


def sealed(record: Record | None) -> str:
    """Return the text of a record and a hash of the rest; `{}` stands for a lost one."""
    if record is None:
        return "{}\n"
    text = record.model_dump_json(exclude_none=True).removesuffix("}")
    return text + SEAL.format(_digest(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> Record | None:
    """Return the record in `path`, None for one that is known to be lost.

    Raises:
        LedgerError: The file is no record, or not the one that was written.
    """
    try:
        text = path.read_text()
        if text == sealed(None):
            return None
        return Record.model_validate_json(_unsealed(path, text))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        message = f"{path}: no record of the ledger can be read here ({_reason(error)}). {CURE}"
        raise LedgerError(message) from error


def _unsealed(path: Path, text: str) -> str:
    """Return the JSON of a record without its seal; records that are named by time have none.

    Raises:
        LedgerError: The seal is another's.
    """
    end = len(SEAL.format("0" * 64))
    whole, seal = text[:-end], text[-end:]
    if number_of(path.name) is None:
        return text
    if seal == SEAL.format(_digest(whole)):
        return whole + "}"
    message = f"{path}: not the record that was written here: its hash differs. {CURE}"
    raise LedgerError(message)


def _reason(error: Exception) -> str:
    """Return the reason of an error in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    return getattr(error, "strerror", None) or type(error).__name__


def count_folder(folder: Path) -> Path:
    """Return the folder beside the ledger with its count."""
    return folder.with_name(f"{folder.name}-count")


def counted(folder: Path) -> int:
    """Return how many records there are at least, by the count."""
    try:
        found = os.listdir(count_folder(folder))  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return 0
    return max((int(name) for name in found if name.isdecimal()), default=0)


def count(folder: Path, number: int) -> None:
    """Let the count say that there is a record `number`; it never goes back."""
    beside = count_folder(folder)
    make_folder(beside)
    (beside / f"{number:012d}").touch()
    for name in os.listdir(beside):  # noqa: PTH208 - names alone
        if name.isdecimal() and int(name) < number:
            with contextlib.suppress(FileNotFoundError):
                (beside / name).unlink()


def missing(folder: Path, found: set[str], least: int) -> list[int]:
    """Return the numbers up to the highest of `found`, or `least`, that have no file.

    A listing may lack a file that was made while it was read: so each is looked up by its name.
    """
    there = {number_of(name) for name in found}
    last = max(highest(found), least)
    lacking = (number for number in range(1, last + 1) if number not in there)
    return [number for number in lacking if not (folder / name_of(number)).exists()]


def check_complete(folder: Path, found: set[str], least: int) -> None:
    """Check that no record is gone; `least` is the count before `found` was listed.

    Raises:
        LedgerError: Some are.
    """
    lost = missing(folder, found, least)
    if lost:
        which = f"record {lost[0]} is" if len(lost) == 1 else f"{len(lost)} records are"
        message = (
            f"{folder}: {which} gone, of {max(highest(found), least)}. Each is written once and "
            f"never removed. Put the folder back if you moved it. Else its hours can be found "
            f"again. {CURE}"
        )
        raise LedgerError(message)
