"""The ledger as a table: node-hours per site and stage."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.budget.ledger import Ledger

if TYPE_CHECKING:
    from pipeline.budget.account import Account


@dataclass(frozen=True)
class Row:
    """The jobs of one stage at one site: how many, what they hold and cost, how they stand."""

    site: str
    stage: str
    jobs: int
    reserved_node_hours: float
    charged_node_hours: float
    states: dict[str, int]


def summary(ledger: Ledger) -> list[Row]:
    """Return one row per site and stage; those of one site stand together."""
    groups: dict[tuple[str, str], list[Account]] = {}
    for account in ledger.accounts().values():
        groups.setdefault((account.site, account.stage), []).append(account)
    return [
        Row(
            site=site,
            stage=stage,
            jobs=len(accounts),
            reserved_node_hours=sum(each.reserved_node_hours for each in accounts),
            charged_node_hours=sum(each.charged_node_hours for each in accounts),
            states=dict(Counter(each.state for each in accounts)),
        )
        for (site, stage), accounts in sorted(groups.items(), key=lambda group: group[0][0])
    ]
