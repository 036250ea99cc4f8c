"""The pictures of evaluations: curves of all modes together, and the matrices of each.

All of it lies in their pictures.json (`pipeline.evaluation.result.Pictures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.drawing.figure import MUTED, PALETTE, style
from pipeline.evaluation.result import Curve, Matrix, WorkingPoint
from pipeline.report.labels import COLOURS

COLUMNS = 3
MOST_CLASSES = 20  # whose matrix a person can read
STRONGEST = 0.75  # opacity of a cell that holds a whole row: words stay readable on it
FEW_POINTS = 40  # of a curve, which have a mark each
DECADES = 30.0  # between the smallest and largest value, from where an axis is logarithmic
Panel = tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """How many of a true class were predicted to be one class, and their share of the class."""

    count: int
    share: float

    @property
    def opacity(self) -> float:
        """How strongly the cell is coloured, from 0."""
        return round(STRONGEST * self.share, 3)


@dataclass(frozen=True)
class MatrixView:
    """A confusion matrix: a row for each true class, a column for each predicted class."""

    name: str
    labels: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def matrices(found: Sequence[Matrix]) -> list[MatrixView]:
    """Return those matrices of an evaluation that are not too large to read."""
    return [
        MatrixView(each.name, each.labels, [_row(counts) for counts in each.counts])
        for each in found
        if len(each.labels) <= MOST_CLASSES
    ]


def _row(counts: Sequence[int]) -> list[Cell]:
    """Return the cells of one true class."""
    total = max(sum(counts), 1)
    return [Cell(count, count / total) for count in counts]


@dataclass(frozen=True)
class Cuts:
    """Working points: a row for each signal and background, a column for each efficiency."""

    efficiencies: Sequence[float]
    rows: Sequence[tuple[str, str, Sequence[WorkingPoint | None]]]


def cuts(points: Sequence[WorkingPoint]) -> Cuts:
    """Return working points as a table; None where an efficiency was not asked."""
    efficiencies = sorted({each.efficiency for each in points})
    pairs: dict[tuple[str, str], dict[float, WorkingPoint]] = {}
    for each in points:
        pairs.setdefault((each.signal, each.background), {})[each.efficiency] = each
    rows = [(*pair, [its.get(each) for each in efficiencies]) for pair, its in pairs.items()]
    return Cuts(efficiencies, rows)


def curves_charts(by_mode: Mapping[str, Sequence[Curve]]) -> dict[str, Figure]:
    """Return a chart of each group of curves, by its name, the nameless one first."""
    charts = {}
    for group in dict.fromkeys(["", *(each.group for its in by_mode.values() for each in its)]):
        of_group = {
            mode: [each for each in its if each.group == group] for mode, its in by_mode.items()
        }
        charts[group] = curves_chart(of_group)
    return {group: chart for group, chart in charts.items() if chart is not None}


def curves_chart(by_mode: Mapping[str, Sequence[Curve]]) -> Figure | None:
    """Return the curves of evaluations by mode, None if there are none.

    A panel for each pair of axes, a colour for each mode. What is the same in all modes, as a
    baseline is, is drawn once, dashed in grey.
    """
    panels = _panels(by_mode)
    if not panels:
        return None
    rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
    with style():
        figure = Figure(figsize=(4.2 * columns, 3.7 * rows), layout="constrained")
        places = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, (titles, curves) in zip(places, panels.items(), strict=False):
            _draw_panel(axes, titles, curves)
        for axes in places[len(panels) :]:
            axes.remove()
    return figure


def _panels(by_mode: Mapping[str, Sequence[Curve]]) -> dict[Panel, list[tuple[str, Curve]]]:
    """Return (mode, curve) of each pair of axis titles."""
    panels: dict[Panel, list[tuple[str, Curve]]] = {}
    for mode, curves in by_mode.items():
        for curve in curves:
            if len(curve.x):
                panels.setdefault((curve.x_title, curve.y_title), []).append((mode, curve))
    return panels


def _draw_panel(axes: Axes, titles: Panel, curves: Sequence[tuple[str, Curve]]) -> None:
    """Draw the curves of one pair of axes."""
    names = list(dict.fromkeys(curve.name for _, curve in curves))
    few = max(len(curve.x) for _, curve in curves) <= FEW_POINTS
    marker = "o" if few else ""
    for name in names:
        of_name = [(mode, curve) for mode, curve in curves if curve.name == name]
        _draw_modes(axes, name, of_name, marker, names)
    if any(name.startswith("calibration") for name in names):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9)
    axes.set(xlabel=titles[0], ylabel=titles[1], title=names[0])
    if _wide([curve for _, curve in curves]):
        axes.set_yscale("log")
    axes.grid()
    axes.legend()


def _draw_modes(
    axes: Axes,
    name: str,
    of_name: Sequence[tuple[str, Curve]],
    marker: str,
    names: Sequence[str],
) -> None:
    """Draw a curve of each mode, or one in grey where it is the same in all."""
    if len(names) > 1 and _all_the_same([curve for _, curve in of_name]):
        _draw_line(axes, of_name[0][1], label=name, color=MUTED, marker=marker, ls="--")
        return
    for mode, curve in of_name:
        label = mode if name == names[0] else f"{mode}, {name}"
        colour = COLOURS.get(mode, PALETTE[5])
        _draw_line(axes, curve, label=label, color=colour, marker=marker)


def _all_the_same(curves: Sequence[Curve]) -> bool:
    """Return whether several curves are one and the same."""
    return len(curves) > 1 and all(
        (each.x, each.y) == (curves[0].x, curves[0].y) for each in curves
    )


def _draw_line(axes: Axes, curve: Curve, **style: Any) -> None:
    """Draw one curve and the band of its intervals."""
    axes.plot(curve.x, curve.y, markersize=3.5, **style)
    if len(curve.low):
        axes.fill_between(
            curve.x, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0
        )


def _wide(curves: Sequence[Curve]) -> bool:
    """Return whether the values span so much that a logarithmic axis serves."""
    values = np.concatenate([np.asarray(curve.y, float) for curve in curves])
    values = values[np.isfinite(values)]
    return len(values) > 0 and values.min() > 0 and values.max() > DECADES * values.min()
