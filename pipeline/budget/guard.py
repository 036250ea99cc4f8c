"""The guard: refuses reservations beyond the cap on node-hours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline import clock
from pipeline.budget.lease import LeaseError
from pipeline.budget.ledger import Ledger, LedgerError, Total
from pipeline.budget.record import Kind, Record
from pipeline.outcome import RunError

ROUNDING = 1e-9  # relative to the cap: the rounding error of a sum of thousands of numbers


class BudgetError(RunError):
    """A job would take a site beyond its cap on node-hours.

    `may_fit` says that the job may fit later, if other jobs cost less than they reserved.
    """

    outcome = "over_cap"

    def __init__(self, message: str, *, may_fit: bool) -> None:
        super().__init__(message)
        self.may_fit = may_fit


@dataclass(frozen=True)
class RemainingCost:
    """Node-hours of jobs still to be submitted: of the tasks that reserve now, and of others."""

    current: float = 0.0
    others: float = 0.0


NOTHING = RemainingCost()


def reserve(
    ledger: Ledger,
    records: Sequence[Record],
    cap_node_hours: float | None,
    remaining: Callable[[], RemainingCost] = RemainingCost,
) -> None:
    """Append `records`, the reservations of one job, if they fit under the cap of their site.

    Charged and reserved node-hours never exceed the cap, however many processes reserve at once and
    on whatever machines: a reservation counts if those with lower numbers leave room for it, which
    is the same for every reader. The ledger's lease only spares others a refusal. Submit the job
    only after this returns.

    Args:
        ledger: Where they are appended.
        records: The most that the job may cost, one record for each task that shares it. Those
            that are reserved already, perhaps by a process that died before it could check that,
            are checked again.
        cap_node_hours: The most that the site may charge; None is no limit.
        remaining: Returns the node-hours to keep free for jobs after this one.

    Raises:
        BudgetError: They do not fit; nothing is reserved.
        LedgerError: The lease stayed with another process, or the ledger cannot be written.
    """
    accounts = ledger.accounts()
    missing = [
        record
        for record in records
        if record.job_key not in accounts or not accounts[record.job_key].reserved_node_hours
    ]
    if cap_node_hours is None:
        for record in missing:
            ledger.append(record)
        return
    try:
        with ledger.lease():
            if missing:
                new = sum(record.node_hours for record in missing)
                check(ledger, records[0].site, new, cap_node_hours, remaining())
            for record in missing:
                ledger.append(record)
            _check_order(ledger, records, cap_node_hours)
    except LeaseError as error:
        raise LedgerError(str(error)) from error


def _check_order(ledger: Ledger, records: Sequence[Record], cap_node_hours: float) -> None:
    """Check that the reservations `records` fit beside those before them; release them if not.

    Raises:
        BudgetError: They do not.
    """
    last = ledger.last_reservation([record.job_key for record in records])
    try:
        check(ledger, records[0].site, 0.0, cap_node_hours, until=last or None)
    except BudgetError:
        for record in records:
            ledger.append(_released(record))
        raise


def check(
    ledger: Ledger,
    site: str,
    new_node_hours: float,
    cap_node_hours: float,
    remaining: RemainingCost = NOTHING,
    until: int | None = None,
) -> None:
    """Check that charged + reserved + remaining + new node-hours ≤ cap of `site`.

    Reservations count in full, since a running job may use its whole walltime. With `until` those
    with higher numbers do not count.

    Raises:
        BudgetError: They exceed it; the message says by how much, and how many are left.
    """
    total = ledger.totals(until).get(site, Total(0.0, 0.0))
    uncharged = cap_node_hours - total.charged_node_hours + ROUNDING * cap_node_hours
    kept = total.reserved_node_hours + remaining.others
    whole = new_node_hours + remaining.current
    if whole > uncharged - kept:
        too_many = whole - uncharged + kept
        of_others = (
            f", {remaining.others:.2f} remaining for other tasks" if remaining.others else ""
        )
        whole_chain = f" {whole:.2f} for the whole chain," if remaining.current else ""
        message = (
            f"{site}: {new_node_hours:.2f} node-hours requested,{whole_chain} "
            f"{max(uncharged - kept, 0):.2f} left of {cap_node_hours:.2f} "
            f"({total.charged_node_hours:.2f} charged, {total.reserved_node_hours:.2f} reserved"
            f"{of_others}): {too_many:.2f} too many. "
            "Raise the cap, request less, or wait until running jobs release what they do not use."
        )
        raise BudgetError(message, may_fit=whole <= uncharged)


def _released(record: Record) -> Record:
    """Return the record that releases the reservation `record`."""
    changes = {"kind": Kind.RELEASE, "time": clock.time(), "node_hours": 0.0}
    return record.model_copy(update=changes)
