"""Scaling laws for the page: held-out losses against parameters and events, and what they say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from pydantic import TypeAdapter

from pipeline.catalog import RESOLVED
from pipeline.drawing.figure import style
from pipeline.evaluation.scaling import Fit, Floats, Measured, Saturation, ScalingError
from pipeline.families import Model
from pipeline.records import Trained
from pipeline.report.probed import held_out
from pipeline.report.tasks import TaskView

RESAMPLES = 50
TIMES = 10  # as many FLOPs as the largest training, for which the best trade is said
# Of language models: Kaplan et al., arXiv:2001.08361, eqs. 1.1 and 1.2; Hoffmann et al.,
# arXiv:2203.15556, eq. 10.
PUBLISHED = {
    "L(N)": {"αN": 0.076},
    "L(D)": {"αD": 0.095},
    "L(N, D)": {"αN": 0.076, "αD": 0.095},
    "Chinchilla": {"α": 0.34, "β": 0.28},
}


@dataclass(frozen=True)
class ScalingView:
    """The held-out losses of one family on one probe's events, and the laws fitted to them.

    L(N) is of the models trained on most events, L(D) of the largest model; the other two of all.
    `refused` says by law why there is none; `saturated` has N and D where the loss stopped to fall.
    `trades` are N and D of the least loss, by law, for ten times the FLOPs of the largest training.
    """

    name: str
    measured: Measured
    fits: Sequence[Fit]
    refused: Mapping[str, str]
    saturated: Mapping[str, Saturation]
    trades: Mapping[str, tuple[float, float]]


def scalings(tasks: Sequence[TaskView]) -> Iterator[ScalingView]:
    """Yield a view of each probe and family with models or data of at least two sizes."""
    for name, rows in _losses(tasks).items():
        parameters, data, loss = (np.array(column, float) for column in zip(*rows, strict=True))
        if max(len(set(parameters)), len(set(data))) > 1:
            try:
                yield _view(name, Measured(parameters, data, loss))
            except ScalingError as error:
                nothing = Measured(*(np.array([]) for _ in range(3)))
                yield ScalingView(name, nothing, (), {"no law": str(error)}, {}, {})


def _losses(tasks: Sequence[TaskView]) -> dict[str, list[tuple[float, float, float]]]:
    """Return (parameters, events, held-out loss) of each model, by probe and family.

    Beside them the least losses by validation, each where its training might have been stopped:
    what laws in the data are of (Kaplan et al., §4.1).
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    for each in held_out(tasks):
        row = _row(each.parent, each.events, each.loss)
        found.setdefault(each.grid, []).extend(row)
    for task in tasks:
        result = task.result
        if task.stage != "pretrain" or not isinstance(result, Trained):
            continue
        if result.best_validation_loss is not None:  # of a training that was validated
            name = f"validation, each at its least, {task.declaration['model']['family']}"
            row = _row(task, task.declaration["events"], result.best_validation_loss)
            found.setdefault(name, []).extend(row)
    return {name: rows for name, rows in found.items() if rows}


def _row(pretrained: TaskView, events: int, loss: float) -> list[tuple[float, float, float]]:
    """Return the row of a model, none where its parameters are not known.

    Of a model of the user's own only its training has counted them.
    """
    declared = pretrained.declaration["model"]
    adapter = TypeAdapter[Model](Model)
    model = adapter.validate_python(declared, context={RESOLVED: True})
    known = model.parameters()
    counted = getattr(pretrained.result, "parameters", 0) if known is None else known.total
    return [(counted, events, loss)] if counted else []


def _view(name: str, measured: Measured) -> ScalingView:
    """Return the laws of one family's losses."""
    from pipeline.evaluation.scaling import fit, optimal, saturation

    longest = _only(measured, measured.data == measured.data.max())
    largest = _only(measured, measured.parameters == measured.parameters.max())
    of_both = ("L(N, D)", "Chinchilla")
    of = {"L(N)": longest, "L(D)": largest, "L(N, D)": measured, "Chinchilla": measured}
    fits: list[Fit] = []
    refused: dict[str, str] = {}
    saturated: dict[str, Saturation] = {}
    for law, some in of.items():
        try:
            fits.append(fit(law, some, resamples=RESAMPLES))
            if law in ("L(N)", "L(D)"):
                level = saturation(some, law)
                saturated |= {law: level} if level.is_there else {}
        except ScalingError as error:
            refused[law] = str(error).removeprefix(f"{law}: ")
    # Six FLOPs a parameter and sample: events for tokens changes nothing in the trade of both.
    flops = 6.0 * TIMES * measured.parameters.max() * measured.data.max()
    trades = {each.law: optimal(each, flops) for each in fits if each.law in of_both}
    return ScalingView(name, measured, fits, refused, saturated, trades)


def _only(measured: Measured, chosen: np.ndarray) -> Measured:
    """Return the measurements of a mask (M)."""
    return Measured(measured.parameters[chosen], measured.data[chosen], measured.loss[chosen])


def scaling_chart(view: ScalingView) -> Figure:
    """Return the losses against parameters, a colour an amount of data, and against data.

    Lines are the law of both that scatters least, where there is one.
    """
    both = [each for each in view.fits if each.law in ("L(N, D)", "Chinchilla")]
    law = min(both, key=lambda each: each.scatter, default=None)
    n, d, loss = view.measured.parameters, view.measured.data, view.measured.loss
    with style():
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, n, d, loss, law.predict if law else None)
        _panel(right, d, n, loss, (lambda x, other: law.predict(other, x)) if law else None)
        left.set(xlabel="parameters", ylabel="held-out loss")
        right.set(xlabel="events trained on")
        for axes, title in ((left, "events"), (right, "parameters")):
            axes.legend(title=title, fontsize=8, ncols=2)
    return figure


def _size(value: float) -> str:
    """Return a number of parameters or events in few characters."""
    return f"{value:,.0f}" if value < 1e6 else f"{value:.2g}"


def _panel(axes: Axes, x: Floats, other: Floats, loss: Floats, law: object) -> None:
    """Draw the losses against x, and the law, a colour for each value of the other quantity."""
    values = np.unique(other)
    shades = colormaps["viridis"](np.linspace(0.05, 0.85, len(values)))
    for value, shade in zip(values, shades, strict=True):
        here = other == value
        axes.plot(x[here], loss[here], "o", color=shade, markersize=5, label=_size(value))
        if callable(law):
            line = np.geomspace(x.min(), x.max(), 60)
            axes.plot(line, law(line, np.full_like(line, value)), color=shade, linewidth=1)
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="both")
