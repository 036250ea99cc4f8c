"""The ledger of a rehearsal, in memory: the same records, the same replay."""

from pathlib import Path

from pipeline.budget.account import Account, replay
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Record


class MemoryLedger(Ledger):
    """A `Ledger` of one process that nobody else reads."""

    def __init__(self) -> None:
        super().__init__(Path())

    def append(self, record: Record) -> Path:
        """See `Ledger.append`; there is no file."""
        records = self._by_job.setdefault(record.job_key, [])
        records.append(record)
        self._accounts[record.job_key] = replay(records)
        return self.folder

    def records(self) -> list[Record]:
        """See `Ledger.records`."""
        found = (record for records in self._by_job.values() for record in records)
        return sorted(found, key=lambda record: record.moment)

    def accounts(self) -> dict[str, Account]:
        """See `Ledger.accounts`; time goes on in a rehearsal, so they are in order."""
        return self._accounts
