"""The node-hours of rehearsals against the days, as a picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.budget.spending import spent
from pipeline.drawing.figure import MUTED, colours, style
from pipeline.rehearsal.machine import DAY, EPOCH
from pipeline.rehearsal.rehearse import Rehearsal

MOMENTS = 400


def draw(runs: Mapping[str, Rehearsal], path: Path, cap_node_hours: float | None) -> None:
    """Draw what was charged until each day, a line a policy, and write it to `path`."""
    with style():
        figure = Figure(figsize=(9, 4.6 + 0.24 * len(runs)), layout="constrained")
        axes = figure.add_subplot()
        for (name, run), colour in zip(runs.items(), colours(len(runs)), strict=True):
            days = np.linspace(0, run.hours / 24, MOMENTS)
            hours = spent(run.accounts, EPOCH + days * DAY)
            axes.plot(days, hours, color=colour, label=name)
        if cap_node_hours is not None:
            axes.axhline(cap_node_hours, color=MUTED, linestyle="--", label="the cap")
        axes.set(xlabel="days since the start", ylabel="node-hours charged", ylim=(0, None))
        axes.margins(x=0)
        axes.grid()
        figure.legend(loc="outside lower left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
