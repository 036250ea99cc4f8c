"""The ledger: every node-hour reserved and charged, one immutable file per record.

A record is written under a hidden name and linked into place under the next number
(`record_files`). The link is atomic and exclusive on Lustre, NFS and GPFS, where flock and SQLite
are not to be trusted; a kill leaves no half record. State is a replay of the records in the order
of their numbers; nothing is ever changed or removed.
"""

import threading
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pipeline.budget import record_files
from pipeline.budget.account import Account, replay
from pipeline.budget.lease import lease
from pipeline.budget.record import Kind, Record
from pipeline.budget.record_files import LedgerError
from pipeline.outcome import classify
from pipeline.trust import user_name

__all__ = ["Ledger", "LedgerError", "Total"]

Position = tuple[int, float, int, str]  # in the ledger: number, or time and kind; name


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
        self._records: dict[str, tuple[Position, Record | None]] = {}
        self._by_job: dict[str, list[tuple[Position, Record]]] = {}
        self._accounts: dict[str, Account] = {}

    def lease(self) -> AbstractContextManager[None]:
        """Return the only lease on this ledger, see `pipeline.budget.lease`."""
        return lease(self.folder)

    def append(self, record: Record) -> Path:
        """Add `record`, in this user's name, and return its file, whole or not there at all.

        Raises:
            LedgerError: The folder cannot be written, or the disk is full.
        """
        mine = record if record.user else record.model_copy(update={"user": user_name()})
        try:
            return record_files.append(self.folder, mine)
        except OSError as error:
            message = (
                f"{self.folder}: the {record.kind} of {record.job_key} cannot be recorded "
                f"({error.strerror}). Free some space there, or make it writable, then run again."
            )
            raise LedgerError(message, classify(error).outcome.name) from error

    def records(self) -> list[Record]:
        """Return every record in the order of the ledger.

        Raises:
            LedgerError: A record is damaged or gone; the message says what to do.
        """
        with self._lock:
            self._catch_up()
            return [record for _, record in sorted(self._all(), key=lambda each: each[0])]

    def _all(self) -> list[tuple[Position, Record]]:
        return [
            (position, record) for position, record in self._records.values() if record is not None
        ]

    def accounts(self) -> dict[str, Account]:
        """Return the account of each job by its key, in the order of their first records."""
        with self._lock:
            self._catch_up()
            first = {key: self._by_job[key][0][0] for key in self._by_job}
            return {key: self._accounts[key] for key in sorted(first, key=first.__getitem__)}

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

    def unsettled(self, site: str) -> list[Account]:
        """Return the submitted jobs of a site whose end accounting has not confirmed."""
        found = self.accounts().values()
        mine = [each for each in found if each.site == site and each.job_id]
        return [each for each in mine if each.end is None or each.provisional]

    def last_reservation(self, keys: Collection[str]) -> int:
        """Return the number of the last reservation of the jobs `keys`, 0 if none has a number."""
        with self._lock:
            self._catch_up()
            found = [each for key in keys for each in self._by_job.get(key, [])]
            return max(
                (position[0] for position, each in found if each.kind is Kind.RESERVE), default=0
            )

    def totals(self, until: int | None = None) -> dict[str, Total]:
        """Return the reserved and charged node-hours at each site; sites are never added up.

        With `until`, as of the record of that number: the same for every reader, at any time.
        """
        accounts = list(self.accounts().values() if until is None else self._until(until))
        return {
            site: Total(
                sum(each.reserved_node_hours for each in accounts if each.site == site),
                sum(each.charged_node_hours for each in accounts if each.site == site),
            )
            for site in dict.fromkeys(each.site for each in accounts)
        }

    def _until(self, number: int) -> list[Account]:
        """Return the accounts as of record `number`."""
        with self._lock:
            self._catch_up()
            before = {
                key: [record for position, record in positioned if position[0] <= number]
                for key, positioned in self._by_job.items()
            }
        return [replay(records) for records in before.values() if records]

    def _catch_up(self) -> None:
        """Read new files, and replay their jobs.

        Raises:
            LedgerError: A record is damaged or gone.
        """
        least = record_files.counted(self.folder)
        there = record_files.names(self.folder)
        new = {name: self._positioned(name) for name in there - self._records.keys()}
        record_files.check_complete(self.folder, there, least)
        if gone := self._records.keys() - there:  # of an earlier version, whose count is not known
            self._by_job = {}
            new = {name: self._records[name] for name in self._records.keys() - gone} | new
            self._records, self._accounts = {}, {}
        self._records |= new
        changed = set()
        for position, record in new.values():
            if record is not None:
                self._by_job.setdefault(record.job_key, []).append((position, record))
                changed.add(record.job_key)
        for key in changed:
            self._by_job[key].sort(key=lambda each: each[0])
            self._accounts[key] = replay(record for _, record in self._by_job[key])

    def _positioned(self, name: str) -> tuple[Position, Record | None]:
        """Return the record in the file `name`, and its position."""
        record, number = record_files.read(self.folder / name), record_files.number_of(name)
        if number is not None or record is None:
            return (number or 0, 0.0, 0, name), record
        return (0, *record.moment, name), record
