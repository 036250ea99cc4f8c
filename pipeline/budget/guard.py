"""The guard: no job is promised node-hours beyond the cap."""

from pipeline.budget.ledger import Ledger, Total
from pipeline.run import RunError


class BudgetError(RunError):
    """A job would take a site beyond its cap of node-hours."""


def check(ledger: Ledger, site: str, *, new_node_hours: float, cap_node_hours: float) -> None:
    """Return if `new_node_hours` more fit under the cap of `site`: charged + reserved + new ≤ cap.

    What is reserved counts in full, since a running job may use all it asked for.

    Raises:
        BudgetError: They do not; the message says what is left.
    """
    total = ledger.totals().get(site, Total(0.0, 0.0))
    left = cap_node_hours - total.charged_node_hours - total.reserved_node_hours
    if new_node_hours > left:
        message = (
            f"{site}: {new_node_hours:.2f} node-hours asked, {max(left, 0):.2f} left of "
            f"{cap_node_hours:.2f} ({total.charged_node_hours:.2f} charged, "
            f"{total.reserved_node_hours:.2f} reserved). Raise the cap or ask for less."
        )
        raise BudgetError(message)
