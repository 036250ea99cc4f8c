"""What probes of pretrained models found, for the page: losses, scores and histograms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.drawing.figure import MUTED, PALETTE, style
from pipeline.evaluation.result import Histogram, Pictures
from pipeline.records import Probed
from pipeline.report.reader import Reader
from pipeline.report.tasks import TaskView
from pipeline.report.unseen import trained_on

COLUMNS = 3


@dataclass(frozen=True)
class ProbeView:
    """One finished probe, with the histograms that it left."""

    name: str
    result: Probed
    histograms: Sequence[Histogram]

    @property
    def trained_on(self) -> int:
        """How many events of the split its model was trained on."""
        return trained_on([self.result])

    @property
    def losses(self) -> dict[str, float]:
        """The loss first, then its parts."""
        order = sorted(self.result.losses, key=lambda name: (name != "loss", name))
        return {name: self.result.losses[name] for name in order}


def probes(tasks: Sequence[TaskView], reader: Reader) -> Iterator[ProbeView]:
    """Yield the finished probes among `tasks`."""
    for task in tasks:
        if isinstance(task.result, Probed) and task.state == "done":
            found = reader.record(task.folder.pictures, Pictures) or Pictures()
            yield ProbeView(task.name, task.result, found.histograms)


def histograms_chart(histograms: Sequence[Histogram]) -> Figure:
    """Return the histograms side by side: truth filled, the model as a line, their ratio below."""
    rows = -(-len(histograms) // COLUMNS)
    columns = min(COLUMNS, len(histograms))
    with style():
        figure = Figure(figsize=(3.6 * columns, 3.5 * rows), layout="constrained")
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
        for index, each in enumerate(histograms):
            row, column = divmod(index, columns)
            upper = figure.add_subplot(grid[2 * row, column])
            lower = figure.add_subplot(grid[2 * row + 1, column], sharex=upper)
            _draw(upper, lower, each, legend=index == 0)
    return figure


def _draw(upper: Any, lower: Any, histogram: Histogram, *, legend: bool) -> None:
    """Draw one histogram: shares of all values a bin, and made over true with its error."""
    edges = np.array(histogram.edges, float)
    true, made = (np.array(each, float) for each in (histogram.true, histogram.made))
    shares = [counts / max(counts.sum(), 1) for counts in (true, made)]
    upper.stairs(shares[0], edges, fill=True, color=MUTED, alpha=0.35, label="truth")
    upper.stairs(shares[1], edges, color=PALETTE[0], linewidth=1.6, label="model")
    ratio, error = _ratio(true, made)
    middle = (edges[1:] + edges[:-1]) / 2
    lower.axhline(1, color=MUTED, linewidth=0.9)
    lower.errorbar(middle, ratio, error, fmt="o", markersize=2, linewidth=0.8, color=PALETTE[0])
    lower.set_ylim(0, 2)
    unit = "" if histogram.unit == "1" else f" [{histogram.unit}]"
    lower.set(xlabel=f"{histogram.name}{unit}")
    upper.tick_params(labelbottom=False)
    upper.set_ylim(bottom=0)
    if legend:
        upper.set(ylabel="share of values")
        lower.set(ylabel="ratio")
        upper.legend()


def _ratio(
    true: NDArray[np.float64], made: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return made over true and its statistical error, not a number where a bin is empty."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (made / made.sum()) / (true / true.sum())
        error = ratio * np.sqrt(1 / made + 1 / true)
    empty = (true == 0) | (made == 0)
    return np.where(empty, np.nan, ratio), np.where(empty, np.nan, error)
