"""The ledger: every node-hour reserved and charged, one immutable file per record.

A record is written under a hidden name and linked into place. The link is atomic and exclusive on
Lustre, NFS and GPFS, where flock and SQLite are not to be trusted; a kill leaves no half record.
State is a replay of the records; nothing is ever changed or removed.
"""

import errno
import os
import threading
import uuid
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.budget.account import Account, replay
from pipeline.budget.lease import lease
from pipeline.budget.record import Record
from pipeline.outcome import RunError, classify
from pipeline.writing import create_text


class LedgerError(RunError):
    """The ledger cannot be read or written; the message names the file and the way out."""

    def __init__(self, message: str, outcome: str = RunError.outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class Total:
    """The node-hours of one site: still reserved for jobs, and charged."""

    reserved_node_hours: float
    charged_node_hours: float


class Ledger:
    """The records in one folder; any number of processes may append at once.

    A record never changes, so each file is read once in the life of this object.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._by_job: dict[str, list[Record]] = {}
        self._accounts: dict[str, Account] = {}

    def lease(self) -> AbstractContextManager[None]:
        """Return the only lease on this ledger, see `pipeline.budget.lease`."""
        return lease(self.folder)

    def append(self, record: Record) -> Path:
        """Add `record` and return its file, which exists completely or not at all.

        Raises:
            LedgerError: The folder cannot be written, or the disk is full.
        """
        name = f"{record.time * 1e6:017.0f}-{record.kind}-{uuid.uuid4().hex}.json"
        path = self.folder / name
        try:
            if not create_text(path, record.model_dump_json(exclude_none=True) + "\n"):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        except OSError as error:
            message = (
                f"{self.folder}: the {record.kind} of {record.job_key} cannot be recorded "
                f"({error.strerror}). Free some space there, or make it writable, then run again."
            )
            raise LedgerError(message, classify(error).outcome.name) from error
        return path

    def records(self) -> list[Record]:
        """Return every record, by time, then in the order of `Kind`.

        Raises:
            LedgerError: A file is not a record; the message names it.
        """
        with self._lock:
            self._catch_up()
            return sorted(self._records.values(), key=lambda record: record.moment)

    def accounts(self) -> dict[str, Account]:
        """Return the account of each job by its key, in the order of their first records."""
        with self._lock:
            self._catch_up()
            heard = {key: min(each.moment for each in self._by_job[key]) for key in self._by_job}
            return {key: self._accounts[key] for key in sorted(heard, key=heard.__getitem__)}

    def unended(self, site: str) -> list[Account]:
        """Return the submitted jobs of a site that have not ended."""
        found = self.accounts().values()
        return [each for each in found if each.site == site and each.job_id and each.end is None]

    def of_jobs(self, site: str, job_ids: Collection[str]) -> list[Account]:
        """Return the accounts of some batch jobs of a site; the links of a bundle share a job."""
        found = self.accounts().values()
        return [each for each in found if each.site == site and each.job_id in job_ids]

    def of_task(self, task: str) -> list[Account]:
        """Return the accounts of a task's jobs."""
        return self.of_tasks([task])[task]

    def of_tasks(self, tasks: Iterable[str]) -> dict[str, list[Account]]:
        """Return the accounts of several tasks' jobs; the folder is listed once for all."""
        found: dict[str, list[Account]] = {task: [] for task in tasks}
        for each in self.accounts().values():
            if each.task in found:
                found[each.task].append(each)
        return found

    def _catch_up(self) -> None:
        """Read new files, forget removed ones, and replay their jobs."""
        there = {name for name in _names(self.folder) if name[0] != "." and name.endswith(".json")}
        gone = self._records.keys() - there
        new = {name: _read(self.folder / name) for name in there - self._records.keys()}
        changed = {self._records.pop(name).job_key for name in gone}
        if gone:
            self._by_job = {}
            for record in self._records.values():
                self._by_job.setdefault(record.job_key, []).append(record)
        self._records |= new
        for record in new.values():
            self._by_job.setdefault(record.job_key, []).append(record)
            changed.add(record.job_key)
        for key in changed:
            if key in self._by_job:
                self._accounts[key] = replay(self._by_job[key])
            else:
                del self._accounts[key]

    def totals(self) -> dict[str, Total]:
        """Return the reserved and charged node-hours at each site; sites are never added up."""
        accounts = self.accounts().values()
        return {
            site: Total(
                sum(each.reserved_node_hours for each in accounts if each.site == site),
                sum(each.charged_node_hours for each in accounts if each.site == site),
            )
            for site in dict.fromkeys(each.site for each in accounts)
        }


def _names(folder: Path) -> list[str]:
    """Return what lies in `folder`, which may not be there yet; quick where there are thousands."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return []


def _read(path: Path) -> Record:
    """Return the record in `path`."""
    try:
        return Record.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        message = (
            f"{path}: no record of the ledger can be read here ({_reason(error)}). Move the file "
            "away; the next reconciliation asks the scheduler's accounting again."
        )
        raise LedgerError(message) from error


def _reason(error: Exception) -> str:
    """Return the reason of an error in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    return getattr(error, "strerror", None) or type(error).__name__
