"""The node-hours of rehearsals against the days, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.budget.account import Account
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


def spent(accounts: Sequence[Account], days: np.ndarray) -> np.ndarray:
    """Return the node-hours charged until each of `days` (M,); those of a job grow evenly."""
    total = np.zeros_like(days)
    for each in accounts:
        if each.charged_node_hours and each.start is not None and each.end is not None:
            begin, end = ((moment - EPOCH) / DAY for moment in (each.start, each.end))
            done = np.clip((days - begin) / max(end - begin, 1e-9), 0, 1)
            total += each.charged_node_hours * done
    return total
