"""The node-hours of rehearsals against the days, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.budget.account import Account
from pipeline.rehearsal.forecast import Forecast
from pipeline.rehearsal.machine import DAY, EPOCH
from pipeline.rehearsal.rehearse import Rehearsal
from pipeline.report.figure import MUTED, colours, style

MOMENTS = 400


def draw(runs: Mapping[str, Rehearsal], path: Path, cap_node_hours: float | None) -> None:
    """Draw what was charged until each day, a line a policy, and write it to `path`."""
    with style():
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        axes = figure.add_subplot()
        for (name, run), colour in zip(runs.items(), colours(len(runs)), strict=True):
            days = np.linspace(0, run.hours / 24, MOMENTS)
            axes.plot(days, spent(run.accounts, days), color=colour, label=name)
        if cap_node_hours is not None:
            axes.axhline(cap_node_hours, color=MUTED, linestyle="--", label="the cap")
        axes.set(xlabel="days since the start", ylabel="node-hours charged", ylim=(0, None))
        axes.margins(x=0)
        axes.grid()
        axes.legend(loc="upper left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


def burn_down(
    accounts: Sequence[Account],
    now: float,
    told: Forecast,
    path: Path,
    cap_node_hours: float | None,
) -> None:
    """Draw what was spent so far, and where 4 of 5 outcomes lie, and write it to `path`.

    The time axis is of days from now.

    Args:
        accounts: The jobs until now, see `pipeline.rehearsal.forecast.so_far`.
        now: In seconds since 1970.
        told: The forecast of now.
        path: A file of any of matplotlib's formats.
        cap_node_hours: Drawn as a line, where there is one.
    """
    begun = min((each.start for each in accounts if each.start is not None), default=now)
    moments = np.linspace(begun, now, MOMENTS)
    past = spent(accounts, (moments - EPOCH) / DAY)
    with style():
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        axes = figure.add_subplot()
        (colour,) = colours(1)
        axes.plot((moments - now) / DAY, past, color=colour, label="spent so far")
        ends = [(told.days.low, told.node_hours.low), (told.days.high, told.node_hours.high)]
        corners = [(0.0, told.spent_node_hours), *ends]
        axes.fill(*zip(*corners, strict=True), color=colour, alpha=0.2, label="4 of 5 outcomes")
        middle = ([0.0, told.days.middle], [told.spent_node_hours, told.node_hours.middle])
        axes.plot(*middle, color=colour, linestyle=":", label="the middle of them")
        if cap_node_hours is not None:
            axes.axhline(cap_node_hours, color=MUTED, linestyle="--", label="the cap")
        axes.axvline(0.0, color=MUTED, linewidth=0.8)
        axes.set(xlabel="days from now", ylabel="node-hours", ylim=(0, None))
        axes.grid()
        axes.legend(loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


def spent(accounts: Sequence[Account], days: np.ndarray) -> np.ndarray:
    """Return the node-hours charged until each of `days` (M,); those of a job grow evenly."""
    total = np.zeros_like(days)
    for each in accounts:
        if each.charged_node_hours and each.start is not None and each.end is not None:
            begin, end = ((moment - EPOCH) / DAY for moment in (each.start, each.end))
            done = np.clip((days - begin) / max(end - begin, 1e-9), 0, 1)
            total += each.charged_node_hours * done
    return total
