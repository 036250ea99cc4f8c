"""The chart of node-hours against time: what was spent, what is to come, and the cap."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from pipeline.budget.account import Account
from pipeline.budget.forecast import Forecast
from pipeline.budget.spending import spent
from pipeline.drawing.figure import MUTED, PALETTE, style

MOMENTS = 400
DAY = 86400.0  # matplotlib's unit of time is the day since 1970


def spending_chart(
    accounts: Sequence[Account], forecast: Forecast | None, cap_node_hours: float | None
) -> Figure:
    """Return the node-hours of one site against time.

    Args:
        accounts: Its jobs.
        forecast: Where 4 of 5 outcomes were expected, if there is a forecast: drawn as a wedge.
        cap_node_hours: Drawn as a line, where there is one.
    """
    starts = [each.start for each in accounts if each.start is not None]
    ends = [each.end for each in accounts if each.end is not None]
    now = forecast.now if forecast is not None else 0.0
    moments = np.linspace(min(starts, default=now), max([*ends, now]), MOMENTS)
    with style():
        figure = Figure(figsize=(9, 4.4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(moments / DAY, spent(accounts, moments), color=PALETTE[0], label="charged")
        if forecast is not None:
            _wedge(axes, forecast)
        if cap_node_hours is not None:
            axes.axhline(cap_node_hours, color=MUTED, linestyle="--", label="the cap")
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call] # matplotlib's
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        axes.set(xlabel="UTC", ylabel="node-hours", ylim=(0, None))
        axes.margins(x=0)
        axes.grid()
        axes.legend(loc="lower right")
    return figure


def _wedge(axes: Axes, forecast: Forecast) -> None:
    """Draw from what was spent to the bounds of 4 of 5 outcomes, and to the middle of them."""
    now, days, hours = forecast.now / DAY, forecast.days, forecast.node_hours
    begin = forecast.spent_node_hours
    axes.fill(
        [now, now + days.low, now + days.high, now + days.high],
        [begin, hours.high, hours.high, hours.low],
        color=PALETTE[0],
        alpha=0.2,
        label=f"4 of 5 outcomes, seen from {datetime.fromtimestamp(forecast.now, UTC):%Y-%m-%d}",
    )
    axes.plot(
        [now, now + days.middle],
        [begin, hours.middle],
        linestyle=":",
        color=PALETTE[0],
        label="the middle of them",
    )
