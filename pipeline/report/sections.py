"""The pictures of the page: losses, events and node-hours."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.budget.account import Account
from pipeline.budget.calendar import Span
from pipeline.budget.forecast import Forecast
from pipeline.budget.summary import Row
from pipeline.drawing.figure import to_svg
from pipeline.drawing.scene import Scene
from pipeline.drawing.values import as_csv, values_of
from pipeline.pace import Pace, pace
from pipeline.report.calendar import calendar_chart
from pipeline.report.displays import display_of, drawn
from pipeline.report.evaluations import ProbeView, histograms_chart
from pipeline.report.grid import GridView, grid_chart
from pipeline.report.labels import labels_chart
from pipeline.report.pictures import Cuts, MatrixView, curves_charts, cuts, matrices
from pipeline.report.plots import Curve, loss_curves, node_hours_chart
from pipeline.report.reader import Reader
from pipeline.report.results import TaskResults, chosen
from pipeline.report.scaling import ScalingView, scaling_chart
from pipeline.report.spending import spending_chart
from pipeline.report.tasks import TaskView
from pipeline.run import TaskFolder

EVENTS_SHOWN = 3
MOST_NUMBERS = 100_000  # characters of a figure's CSV that the page carries
MANY_GALLERIES = 8  # beyond which each shows one event, since one takes 100 kB of the page
TRAININGS = {
    "tokenize": "Training of tokenizers",
    "pretrain": "Pretraining",
    "finetune": "Fine-tuning",
}


@dataclass(frozen=True)
class Plot:
    """A figure of the page; of an event the same in space, as the page's script has it."""

    title: str
    figure: Figure
    scene: Markup | None = None

    @property
    def name(self) -> str:
        """The title, as a file may be named."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def numbers(self) -> str:
        """What the figure shows as a link that saves a CSV file, empty where that is long."""
        text = as_csv(values_of(self.figure)) if self.scene is None else ""
        return f"data:text/csv;charset=utf-8,{quote(text)}" if len(text) < MOST_NUMBERS else ""

    @property
    def svg(self) -> Markup:
        """The figure as the page has it."""
        return Markup(to_svg(self.figure, self.title))  # noqa: S704 - it is made by matplotlib


@dataclass(frozen=True)
class Gallery:
    """The first events of one evaluation, the one chosen for its fine-tuning and `mode`."""

    task: str
    mode: str
    key: str
    caption: str
    plots: Sequence[Plot]


@dataclass(frozen=True)
class ModePictures:
    """The pictures of one evaluation, the one chosen for its `mode`."""

    mode: str
    key: str
    matrices: Sequence[MatrixView]
    histograms: Plot | None
    cuts: Cuts


@dataclass(frozen=True)
class Pictures:
    """The pictures of one fine-tuning: curves of all modes together, and what each has alone."""

    curves: Sequence[Plot]
    modes: Sequence[ModePictures]


def losses(tasks: Sequence[TaskView], reader: Reader) -> list[Plot]:
    """Return the losses of the trainings of each stage."""
    plots = []
    for stage, title in TRAININGS.items():
        curves = [curve(task, reader) for task in tasks if task.stage == stage]
        begun = [curve for curve in curves if len(curve.loss)]
        if begun:
            plots.append(Plot(title, loss_curves(begun)))
    return plots


def curve(task: TaskView, reader: Reader) -> Curve:
    """Return the loss of one training; a step that a kill made it take again counts once."""
    newest_first = reader.columns(task.folder.metrics, "events_seen", "loss")[::-1]
    events, first = np.unique(newest_first[:, 0], return_index=True)
    return Curve(label=task.name, events=events, loss=newest_first[first, 1])


def paces(tasks: Sequence[TaskView]) -> list[tuple[TaskView, Pace]]:
    """Return the pace of each training that took a step."""
    found = [(task, pace(task.folder)) for task in tasks if task.stage in TRAININGS]
    return [(task, each) for task, each in found if each is not None and each.links]


def label_plots(found: Sequence[TaskResults]) -> dict[str, Plot]:
    """Return the scores against labels, of each fine-tuning with several counts, by its name."""
    charts = {each.name: labels_chart(each) for each in found}
    return {
        name: Plot(f"{name} against labelled events", chart)
        for name, chart in charts.items()
        if chart is not None
    }


def pictures(found: Sequence[TaskResults]) -> dict[str, Pictures]:
    """Return the pictures of each fine-tuning whose evaluations left any, by its name."""
    made = {each.name: _pictures(each) for each in found}
    return {name: each for name, each in made.items() if each.curves or each.modes}


def _pictures(result: TaskResults) -> Pictures:
    """Return the pictures of one fine-tuning."""
    picked = chosen(result)
    charts = curves_charts({mode: each.pictures.curves for mode, each in picked.items()})
    curves = [
        Plot(f"Curves: {result.name}{group and ', '}{group}", chart)
        for group, chart in charts.items()
    ]
    modes = []
    for mode, each in picked.items():
        histograms = each.pictures.histograms
        title = f"Histograms: {result.name}, {mode}"
        plot = Plot(title, histograms_chart(histograms)) if histograms else None
        tables = matrices(each.pictures.matrices)
        of_mode = cuts(each.pictures.working_points)
        if plot or tables or of_mode.rows:
            modes.append(ModePictures(mode, each.key, tables, plot, of_mode))
    return Pictures(curves, modes)


def galleries(
    found: Sequence[TaskResults], folders: Mapping[str, TaskFolder], reader: Reader
) -> Iterator[Gallery]:
    """Yield the first events of each fine-tuning and mode, fewer where there are many of those."""
    picked = [(result, *pair) for result in found for pair in chosen(result).items()]
    most = EVENTS_SHOWN if len(picked) <= MANY_GALLERIES else 1
    for result, mode, each in picked:
        arrays = reader.arrays(folders[each.key].events)
        names = next((matrix.labels for matrix in each.pictures.matrices), ())
        shown = drawn(result.task, arrays, names, most)
        of = f"{result.name}, {mode}"
        plots = [Plot(f"{of}: {title}", figure, _scene(scene)) for title, figure, scene in shown]
        if plots:
            yield Gallery(result.name, mode, each.key, display_of(result.task).CAPTION, plots)


def _scene(scene: Scene | None) -> Markup | None:
    """Return a scene ready for the page: numbers, colours, and words of ours."""
    return None if scene is None else Markup(scene.json())  # noqa: S704


def probe_plots(found: Sequence[ProbeView]) -> dict[str, Plot]:
    """Return the histograms of each probe that has any, by its name."""
    return {
        each.name: Plot(f"Truth and model: {each.name}", histograms_chart(each.histograms))
        for each in found
        if each.histograms
    }


def scaling_plots(found: Sequence[ScalingView]) -> dict[str, Plot]:
    """Return the losses of each family against its sizes, by the view's name."""
    return {
        each.name: Plot(f"Held-out losses: {each.name}", scaling_chart(each))
        for each in found
        if len(each.measured.loss)
    }


def grid_plots(found: Sequence[GridView], reader: Reader) -> dict[str, Plot]:
    """Return the loss curves of the cells of each grid, by its name."""
    charts = {each.name: grid_chart(each, lambda task: curve(task, reader)) for each in found}
    return {
        name: Plot(f"Loss curves: {name}", chart)
        for name, chart in charts.items()
        if chart is not None
    }


def node_hours_charts(rows: Sequence[Row]) -> list[Plot]:
    """Return one chart per site, since node-hours of different machines do not add up."""
    sites = dict.fromkeys(row.site for row in rows)
    return [
        Plot(f"Node-hours of {site}", node_hours_chart([row for row in rows if row.site == site]))
        for site in sites
    ]


def spending_charts(
    accounts: Sequence[Account], forecast: Forecast | None, cap_node_hours: float | None
) -> list[Plot]:
    """Return the node-hours of each site against time, once one of its jobs has ended."""
    ended = [each for each in accounts if each.charged_node_hours and each.start is not None]
    plots = []
    for site in dict.fromkeys(each.site for each in ended):
        here = [each for each in accounts if each.site == site]
        expected = forecast if forecast is not None and forecast.site == site else None
        chart = spending_chart(here, expected, cap_node_hours)
        plots.append(Plot(f"Node-hours of {site} in time", chart))
    return plots


def calendar_plot(found: Sequence[Span]) -> Plot:
    """Return the strip of what the campaign did when."""
    return Plot("Where the days went", calendar_chart(found))
