"""How an allocation stands: what was charged, what is in flight, what is to come, what is free."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.budget.account import Account


@dataclass(frozen=True)
class Breakdown:
    """Node-hours of one site, of four kinds that do not overlap.

    `settled` were charged and confirmed by accounting; `in_flight` are reserved for jobs in the
    queue or running, with what links charged that accounting has not confirmed; `committed` is the
    most that the rest of the campaign may cost. `free` is what the cap leaves, negative where it
    does not suffice, None without a cap.
    """

    settled: float
    in_flight: float
    committed: float
    free: float | None


def breakdown(
    accounts: Sequence[Account], committed_node_hours: float, cap_node_hours: float | None
) -> Breakdown:
    """Return how the `accounts` of one site stand."""
    settled = sum(each.charged_node_hours for each in accounts if not each.provisional)
    unconfirmed = sum(each.charged_node_hours for each in accounts if each.provisional)
    in_flight = unconfirmed + sum(each.reserved_node_hours for each in accounts)
    used = settled + in_flight + committed_node_hours
    free = None if cap_node_hours is None else cap_node_hours - used
    return Breakdown(settled, in_flight, committed_node_hours, free)
