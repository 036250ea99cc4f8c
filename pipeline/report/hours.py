"""The node-hours of a campaign for the page: what was charged, for what, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.budget.account import Account
from pipeline.budget.breakdown import breakdown
from pipeline.budget.calendar import days
from pipeline.budget.forecast import Forecast, kept
from pipeline.budget.summary import Row, summary_of
from pipeline.budget.use import Use, uses, workers_of
from pipeline.outcome import RunError
from pipeline.report.calendar import view_calendar
from pipeline.report.reader import Reader
from pipeline.report.sections import Plot, calendar_plot, node_hours_charts, spending_charts
from pipeline.run import Run
from pipeline.site import Site


@dataclass(frozen=True)
class Spent:
    """The jobs of a run at its site, and the most that what is left may cost: None if unplanned."""

    run: Run
    site: Site
    cap_node_hours: float | None
    accounts: Sequence[Account]
    committed_node_hours: float | None

    def content(self, reader: Reader, now: datetime) -> dict[str, Any]:
        """Return what the page shows of them, of this site alone."""
        here = [each for each in self.accounts if each.site == self.site.name]
        calendar = view_calendar(self.run, here, now, is_over=self.committed_node_hours == 0)
        return {
            "name": self.site.name,
            "uses": _uses(here, self.run, self.site, reader),
            "calendar": calendar_plot(calendar) if calendar else None,
            "days": days(calendar),
            "breakdown": breakdown(here, self.committed_node_hours or 0.0, self.cap_node_hours),
            "is_planned": self.committed_node_hours is not None,
        }

    def charts(self, reader: Reader) -> list[Plot]:
        """Return the charts of the jobs against time, one for each site."""
        forecast = _forecast(self.run, reader)
        return spending_charts(self.accounts, forecast, self.cap_node_hours)


def content(spent: Sequence[Spent], reader: Reader, now: datetime) -> dict[str, Any]:
    """Return what the page shows of the node-hours; those of different sites are never added."""
    rows = [row for each in spent for row in summary_of(each.accounts)]
    return {
        "rows": rows,
        "charged": charged(rows),
        "charts": [*node_hours_charts(rows), *(c for each in spent for c in each.charts(reader))],
        "spendings": [each.content(reader, now) for each in spent],
    }


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
