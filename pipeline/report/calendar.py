"""The days of a campaign on the page: a strip of what it did when, and their sums."""

from collections.abc import Sequence
from datetime import UTC, datetime

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.attendance import lives
from pipeline.budget.account import Account
from pipeline.budget.calendar import ABSENT, HELD, QUEUED, RUNNING, Span, spans
from pipeline.drawing.figure import MUTED, PALETTE, style
from pipeline.run import Run

DAY = 86_400.0  # matplotlib's unit of time

COLOURS = {RUNNING: PALETTE[2], QUEUED: PALETTE[1], HELD: PALETTE[4], ABSENT: MUTED}


def view_calendar(
    run: Run, accounts: Sequence[Account], now: datetime, *, is_over: bool
) -> list[Span]:
    """Return what a campaign did on a site until `now`, or until its end if it `is_over`."""
    known = lives(run)
    until = now.timestamp()
    if is_over:
        until = max([*_ends(accounts), *(life.seen for life in known)], default=until)
    return spans(accounts, known, until)


def _ends(accounts: Sequence[Account]) -> list[float]:
    return [each.end for each in accounts if each.job_id and each.end is not None]


def calendar_chart(found: Sequence[Span]) -> Figure:
    """Return a strip of time, coloured by what the campaign did."""
    with style():
        figure = Figure(figsize=(9, 1.7), layout="constrained")
        axes = figure.add_subplot()
        for kind, colour in COLOURS.items():
            bars = [(each.begin / DAY, each.seconds / DAY) for each in found if each.what == kind]
            axes.broken_barh(bars, (0, 1), color=colour, linewidth=0)
        locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call] # matplotlib's
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        axes.set(xlabel="UTC", ylim=(0, 1), yticks=[])
        axes.margins(x=0)
        there = {each.what for each in found}
        handles = [Patch(color=c, label=kind) for kind, c in COLOURS.items() if kind in there]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure
