"""The grid of models × data sizes: held-out losses, and of each cell the loss curve of training."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pipeline.campaign import Campaign
from pipeline.drawing.figure import MUTED, style
from pipeline.report.plots import Curve, binned, dress_losses
from pipeline.report.probed import HeldOut, held_out
from pipeline.report.scores import model_name
from pipeline.report.tasks import TaskView

SHADES = (0.1, 0.95)  # of viridis, from the least loss to the greatest
LIGHT = 0.18  # relative luminance from which black is read better than white (WCAG 2.2)
CellKey = tuple[str, int]


@dataclass(frozen=True)
class GridCell:
    """The models of one size on one amount of data, one for each seed.

    `anchor` is the id of their curve on the page; `colour` shows the mean loss, `ink` is for words.
    """

    model: str
    events: int
    loss: float
    parents: Sequence[TaskView]
    anchor: str
    colour: str
    ink: str


@dataclass(frozen=True)
class GridView:
    """One probe of one family: names of models, numbers of events, and cells that are done.

    Models stand in the order of the campaign.
    """

    name: str
    models: Sequence[str]
    events: Sequence[int]
    cells: Mapping[CellKey, GridCell]


def grids(tasks: Sequence[TaskView], campaign: Campaign) -> Iterator[GridView]:
    """Yield the grid of each probe and family of at least two models or two data sizes."""
    by_grid: dict[str, list[HeldOut]] = {}
    for each in held_out(tasks):
        by_grid.setdefault(each.grid, []).append(each)
    for name, found in by_grid.items():
        view = _view(name, found, campaign)
        if max(len(view.models), len(view.events)) > 1:
            yield view


def _view(name: str, found: Sequence[HeldOut], campaign: Campaign) -> GridView:
    """Return the grid of one probe and family."""
    by_cell: dict[CellKey, list[HeldOut]] = {}
    for each in found:
        model = model_name(each.model, campaign) or "model unknown"
        by_cell.setdefault((model, each.events), []).append(each)
    losses = {cell: mean(each.loss for each in some) for cell, some in by_cell.items()}
    colours = _colours(losses)
    cells = {
        (model, events): GridCell(
            model,
            events,
            losses[model, events],
            [each.parent for each in some],
            _anchor(name, model, events),
            *colours[model, events],
        )
        for (model, events), some in by_cell.items()
    }
    order = list(campaign.models)
    models = sorted(
        {model for model, _ in cells}, key=lambda each: order.index(each) if each in order else -1
    )
    return GridView(name, models, sorted({events for _, events in cells}), cells)


def _anchor(grid: str, model: str, events: int) -> str:
    """Return the id of a cell's curve."""
    return re.sub(r"[^a-z0-9]+", "-", f"curve {grid} {model} {events}".lower())


def _colours(losses: Mapping[CellKey, float]) -> dict[CellKey, tuple[str, str]]:
    """Return the colour of each loss, and the colour of words on it."""
    known = [each for each in losses.values() if math.isfinite(each)]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    colours = {}
    for cell, loss in losses.items():
        share = (loss - low) / span if span and math.isfinite(loss) else 0.0
        red, green, blue, _ = colormaps["viridis"](SHADES[0] + (SHADES[1] - SHADES[0]) * share)
        luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        ink = "#000000" if luminance > LIGHT else "#ffffff"
        colours[cell] = to_hex((red, green, blue)), ink
    return colours


def grid_chart(view: GridView, curve_of: Callable[[TaskView], Curve]) -> Figure | None:
    """Return the loss curves of all cells in grey, each an element of the cell's `anchor`.

    The page lifts one out where its cell is chosen. None where no training has left a loss.
    """
    lines = {cell.anchor: _line([curve_of(each) for each in cell.parents]) for cell in _cells(view)}
    lines = {anchor: line for anchor, line in lines.items() if len(line[0])}
    if not lines:
        return None
    with style():
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for anchor, (events, loss) in lines.items():
            axes.plot(events, loss, color=MUTED, alpha=0.45, linewidth=1, gid=anchor)
        dress_losses(axes, [loss for _, loss in lines.values()])
    return figure


def _cells(view: GridView) -> list[GridCell]:
    """Return the cells, row by row."""
    cells = [(model, events) for model in view.models for events in view.events]
    return [view.cells[cell] for cell in cells if cell in view.cells]


def _line(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return events and median losses of several seeds as one line, with gaps between them."""
    begun = [binned(each) for each in curves if len(each.loss)]
    gap = np.array([np.nan])
    events = [part for each in begun for part in (each[0], gap)][:-1]
    losses = [part for each in begun for part in (each[2], gap)][:-1]
    return np.concatenate(events or [gap[:0]]), np.concatenate(losses or [gap[:0]])
