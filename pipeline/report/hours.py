"""The node-hours of a campaign for the page: what was charged, for what, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.budget.account import Account
from pipeline.budget.calendar import days
from pipeline.budget.forecast import Forecast, kept
from pipeline.budget.ledger import Ledger, LedgerError
from pipeline.budget.standing import standing
from pipeline.budget.summary import Row, summary
from pipeline.budget.use import Use, uses, workers_of
from pipeline.outcome import RunError
from pipeline.report.calendar import view_calendar
from pipeline.report.reader import Reader
from pipeline.report.sections import calendar_plot, node_hours_charts, spending_charts
from pipeline.run import Run
from pipeline.site import Site


@dataclass(frozen=True)
class Spent:
    """The jobs of a run, and the most that what is left may cost: None if nobody has planned it."""

    run: Run
    site: Site
    cap_node_hours: float | None
    accounts: Sequence[Account]
    committed_node_hours: float | None

    def content(self, rows: Sequence[Row], reader: Reader, now: datetime) -> dict[str, Any]:
        """Return what the page shows of them; node-hours of different sites are never added."""
        here = [each for each in self.accounts if each.site == self.site.name]
        is_planned = self.committed_node_hours is not None
        calendar = view_calendar(self.run, here, now, is_over=self.committed_node_hours == 0)
        forecast = _forecast(self.run, reader)
        return {
            "rows": rows,
            "charged": charged(rows),
            "uses": _uses(here, self.run, self.site, reader),
            "calendar": calendar_plot(calendar) if calendar else None,
            "days": days(calendar),
            "standing": standing(here, self.committed_node_hours or 0.0, self.cap_node_hours),
            "is_planned": is_planned,
            "charts": [
                *node_hours_charts(rows),
                *spending_charts(self.accounts, forecast, self.cap_node_hours),
            ],
        }


def read_ledger(run: Run, reader: Reader) -> tuple[list[Row], list[Account]]:
    """Return the ledger's summary and accounts, empty where it is damaged."""
    ledger = Ledger(run.ledger)
    try:
        return summary(ledger), list(ledger.accounts().values())
    except LedgerError as error:
        reader.problems.append(str(error))
        return [], []


def _uses(accounts: Sequence[Account], run: Run, site: Site, reader: Reader) -> list[Use]:
    """Return what the node-hours of the site went into, nothing where a record is damaged."""
    try:
        return uses(accounts, run, workers_of(site))
    except RunError as error:
        reader.problems.append(str(error))
        return []


def _forecast(run: Run, reader: Reader) -> Forecast | None:
    """Return what was last expected of the campaign, None if nothing or if that is damaged."""
    try:
        return kept(run)
    except RunError as error:
        reader.problems.append(str(error))
        return None


def charged(rows: Sequence[Row]) -> dict[str, float]:
    """Return the node-hours charged at each site."""
    hours: dict[str, float] = {}
    for row in rows:
        hours[row.site] = hours.get(row.site, 0.0) + row.charged_node_hours
    return hours
