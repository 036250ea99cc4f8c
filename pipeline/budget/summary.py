"""The ledger as a table: node-hours per site, and by stage, cell, task, seed or user."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.budget.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.budget.account import Account

By = Literal["stage", "cell", "task", "seed", "user"]
SEED = re.compile(r"-s(\d+)$")


@dataclass(frozen=True)
class Row:
    """The jobs of one group at one site: their number, node-hours and states.

    `energy_joules` is of those jobs whose energy the site measured, None if of none.
    """

    site: str
    group: str
    jobs: int
    reserved_node_hours: float
    charged_node_hours: float
    energy_joules: float | None
    states: dict[str, int]


def summary(ledger: Ledger, by: By = "stage") -> list[Row]:
    """Return one row per site and group; those of one site stand together.

    A cell is all seeds of a task. Jobs that tasks share, pilots, are a group of their own.
    """
    return summary_of(ledger.accounts().values(), by)


def summary_of(jobs: "Iterable[Account]", by: By = "stage") -> list[Row]:
    """Return the same of some jobs."""
    groups: dict[tuple[str, str], list[Account]] = {}
    for account in jobs:
        groups.setdefault((account.site, _group(account, by)), []).append(account)
    return [
        Row(
            site=site,
            group=group,
            jobs=len(accounts),
            reserved_node_hours=sum(each.reserved_node_hours for each in accounts),
            charged_node_hours=sum(each.charged_node_hours for each in accounts),
            energy_joules=_energy(accounts),
            states=dict(Counter(each.state for each in accounts)),
        )
        for (site, group), accounts in sorted(groups.items(), key=lambda group: group[0][0])
    ]


def _group(account: "Account", by: By) -> str:
    """Return the group of a job; of a task without a seed, its stage."""
    if by == "stage":
        return account.stage
    if by == "seed":
        found = SEED.search(account.task)
        return f"seed {found[1]}" if found else account.stage
    if by == "user":
        return account.user or "not recorded"
    return account.task if by == "task" else SEED.sub("", account.task)


def _energy(accounts: "list[Account]") -> float | None:
    """Return the joules of the jobs whose energy is known."""
    known = [each.energy_joules for each in accounts if each.energy_joules is not None]
    return sum(known) if known else None
