"""The ledger of a rehearsal, in memory: the same records, the same replay."""

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pipeline.budget.account import Account, replay
from pipeline.budget.ledger import Ledger, Total
from pipeline.budget.record import Record


class MemoryLedger(Ledger):
    """A `Ledger` of one process that nobody else reads."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._records_of: dict[str, list[Record]] = {}
        self._open: dict[str, Account] = {}
        self._keys: dict[str, dict[str, None]] = {}  # of jobs, by what may be asked of them
        self._sums: dict[str, Total] = {}

    def lease(self) -> AbstractContextManager[None]:
        """See `Ledger.lease`; no other process is there."""
        return nullcontext()

    def append(self, record: Record) -> Path:
        """See `Ledger.append`; there is no file."""
        records = self._records_of.setdefault(record.job_key, [])
        records.append(record)
        before = self._accounts.get(record.job_key)
        account = self._accounts[record.job_key] = replay(records)
        self._open.pop(record.job_key, None)
        if account.job_id and account.end is None:
            self._open[record.job_key] = account
        for name in (f"job {account.job_id}", f"task {account.task}"):
            self._keys.setdefault(name, {})[record.job_key] = None
        self._add(account, before)
        return self.folder

    def _add(self, account: Account, before: Account | None) -> None:
        """Bring the sums of a site up to `account`, which was `before`."""
        total = self._sums.get(account.site, Total(0.0, 0.0))
        self._sums[account.site] = Total(
            total.reserved_node_hours
            + account.reserved_node_hours
            - (before.reserved_node_hours if before else 0.0),
            total.charged_node_hours
            + account.charged_node_hours
            - (before.charged_node_hours if before else 0.0),
        )

    def totals(self, until: int | None = None) -> dict[str, Total]:
        """See `Ledger.totals`."""
        return dict(self._sums)

    def unended(self, site: str) -> list[Account]:
        """See `Ledger.unended`."""
        return [each for each in self._open.values() if each.site == site]

    def last_reservation(self, keys: Collection[str]) -> int:
        """See `Ledger.last_reservation`."""
        return 0

    def unsettled(self, site: str) -> list[Account]:
        """See `Ledger.unsettled`; the links of a rehearsal leave their ends to accounting."""
        return self.unended(site)

    def records(self) -> list[Record]:
        """See `Ledger.records`."""
        found = (record for records in self._records_of.values() for record in records)
        return sorted(found, key=lambda record: record.moment)

    def accounts(self) -> dict[str, Account]:
        """See `Ledger.accounts`; time goes on in a rehearsal, so they are in order."""
        return self._accounts

    def of_jobs(self, site: str, job_ids: Collection[str]) -> list[Account]:
        """See `Ledger.of_jobs`."""
        found = [each for job_id in job_ids for each in self._of(f"job {job_id}")]
        return [each for each in found if each.site == site and each.job_id in job_ids]

    def of_tasks(self, tasks: Iterable[str]) -> dict[str, list[Account]]:
        """See `Ledger.of_tasks`."""
        return {task: self._of(f"task {task}") for task in tasks}

    def _of(self, name: str) -> list[Account]:
        return [self._accounts[key] for key in self._keys.get(name, {})]
