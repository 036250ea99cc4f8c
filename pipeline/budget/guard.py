"""The guard: no job is promised node-hours beyond the cap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline import clock
from pipeline.budget.lease import TurnError
from pipeline.budget.ledger import Ledger, LedgerError, Total
from pipeline.budget.record import Kind, Record
from pipeline.outcome import RunError

ROUNDING = 1e-9  # of the cap: what sums of thousands of numbers may be off


class BudgetError(RunError):
    """A job would take a site beyond its cap of node-hours.

    `may_fit` says that it will not, if others are charged less than was kept for them.
    """

    outcome = "over_cap"

    def __init__(self, message: str, *, may_fit: bool) -> None:
        super().__init__(message)
        self.may_fit = may_fit


@dataclass(frozen=True)
class ToCome:
    """Node-hours of jobs still to be asked for: by the tasks that ask now, and by others."""

    asking: float = 0.0
    others: float = 0.0


NOTHING = ToCome()


def reserve(
    ledger: Ledger,
    records: Sequence[Record],
    cap_node_hours: float | None,
    to_come: Callable[[], ToCome] = ToCome,
) -> None:
    """Append `records`, the reservations of one job, if they fit under the cap of their site.

    However many processes do so at once, on whatever machines, what is charged and reserved never
    passes the cap: they take turns, and look again after the deed, in case one was paused for so
    long that it lost its turn. A job is submitted after that only.

    Args:
        ledger: Where they are appended.
        records: What the job may cost at most, by the tasks that share it.
        cap_node_hours: The most that their site may charge; None is no limit.
        to_come: Says for what jobs after this one room is kept.

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
            check(ledger, site, new, cap_node_hours, to_come())
            for record in records:
                ledger.append(record)
            try:
                check(ledger, site, 0.0, cap_node_hours)
            except BudgetError:
                for record in records:
                    ledger.append(_released(record))
                raise
    except TurnError as error:
        raise LedgerError(str(error)) from error


def check(
    ledger: Ledger,
    site: str,
    new_node_hours: float,
    cap_node_hours: float,
    to_come: ToCome = NOTHING,
) -> None:
    """Return if `new_node_hours` more fit: charged + reserved + to come + new ≤ cap of `site`.

    What is reserved counts in full, since a running job may use all it asked for.

    Raises:
        BudgetError: They do not; the message says by how much, and what is left.
    """
    total = ledger.totals().get(site, Total(0.0, 0.0))
    uncharged = cap_node_hours - total.charged_node_hours + ROUNDING * cap_node_hours
    kept = total.reserved_node_hours + to_come.others
    whole = new_node_hours + to_come.asking
    if whole > uncharged - kept:
        too_many = whole - uncharged + kept
        of_others = f", {to_come.others:.2f} to come" if to_come.others else ""
        as_a_whole = f" as a whole {whole:.2f}," if to_come.asking else ""
        message = (
            f"{site}: {new_node_hours:.2f} node-hours asked,{as_a_whole} "
            f"{max(uncharged - kept, 0):.2f} left of {cap_node_hours:.2f} "
            f"({total.charged_node_hours:.2f} charged, {total.reserved_node_hours:.2f} reserved"
            f"{of_others}): {too_many:.2f} too many. "
            "Raise the cap, ask for less, or wait for what running jobs give back."
        )
        raise BudgetError(message, may_fit=whole <= uncharged)


def _released(record: Record) -> Record:
    """Return the record that takes the reservation `record` back."""
    changes = {"kind": Kind.RELEASE, "time": clock.time(), "node_hours": 0.0}
    return record.model_copy(update=changes)
