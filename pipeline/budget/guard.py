"""The guard: no job is promised node-hours beyond the cap."""

from collections.abc import Sequence

from pipeline import clock
from pipeline.budget.ledger import Ledger, LedgerError, Total
from pipeline.budget.record import Kind, Record
from pipeline.budget.turn import TurnError
from pipeline.run import RunError

ROUNDING = 1e-9  # of the cap: what sums of thousands of numbers may be off


class BudgetError(RunError):
    """A job would take a site beyond its cap of node-hours."""


def reserve(ledger: Ledger, records: Sequence[Record], cap_node_hours: float | None) -> None:
    """Append `records`, the reservations of one job, if they fit under the cap of their site.

    However many processes do so at once, on whatever machines, what is charged and reserved never
    passes the cap: they take turns, and look again after the deed, in case one was paused for so
    long that it lost its turn. A job is submitted after that only.

    Raises:
        BudgetError: They do not fit, and nothing is reserved.
        LedgerError: The turn did not come, or the ledger cannot be written.
    """
    if cap_node_hours is None or not records:
        for record in records:
            ledger.append(record)
        return
    site = records[0].site
    try:
        with ledger.turn():
            new = sum(record.node_hours for record in records)
            check(ledger, site, new_node_hours=new, cap_node_hours=cap_node_hours)
            for record in records:
                ledger.append(record)
            try:
                check(ledger, site, new_node_hours=0.0, cap_node_hours=cap_node_hours)
            except BudgetError:
                for record in records:
                    ledger.append(_released(record))
                raise
    except TurnError as error:
        raise LedgerError(str(error)) from error


def check(ledger: Ledger, site: str, *, new_node_hours: float, cap_node_hours: float) -> None:
    """Return if `new_node_hours` more fit under the cap of `site`: charged + reserved + new ≤ cap.

    What is reserved counts in full, since a running job may use all it asked for.

    Raises:
        BudgetError: They do not; the message says by how much, and what is left.
    """
    total = ledger.totals().get(site, Total(0.0, 0.0))
    left = cap_node_hours - total.charged_node_hours - total.reserved_node_hours
    if new_node_hours > left + ROUNDING * cap_node_hours:
        message = (
            f"{site}: {new_node_hours:.2f} node-hours asked, {max(left, 0):.2f} left of "
            f"{cap_node_hours:.2f} ({total.charged_node_hours:.2f} charged, "
            f"{total.reserved_node_hours:.2f} reserved): {new_node_hours - left:.2f} too many. "
            "Raise the cap, ask for less, or wait for what running jobs give back."
        )
        raise BudgetError(message)


def _released(record: Record) -> Record:
    """Return the record that takes the reservation `record` back."""
    changes = {"kind": Kind.RELEASE, "time": clock.time(), "node_hours": 0.0}
    return record.model_copy(update=changes)
