"""The chart of a score against the number of labelled events, a line for each mode and model."""

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, NullFormatter

from pipeline.drawing.figure import PALETTE, style
from pipeline.report.results import TaskResults
from pipeline.report.scores import Setting

# A mode has one style in all charts, also for readers who see no colours.
COLOURS = dict(zip(("frozen", "lora", "full", "scratch", "head"), PALETTE, strict=False))
MARKERS = dict(zip(COLOURS, "os^Dv", strict=True))
DASHES = ("-", "--", ":", "-.")
# Of a decade: between the marks of neighbouring lines, so that error bars do not hide, and of all.
APART, WIDEST = 0.02, 0.1
MOST_TICKS = 6
Line = tuple[Any, ...]


def labels_chart(result: TaskResults) -> Figure | None:
    """Return the scores that the task charts against labels, None for one count of labels.

    Error bars are the standard deviation over seeds; of one seed the 68 % interval over events.
    """
    lines = {key: each for key, each in _lines(result.settings).items() if len(each) > 1}
    charted = result.task.CHARTED or (result.first,)
    scores = [name for name in charted if name in result.shown]
    if not lines or not scores:
        return None
    names, apart = _names(list(lines)), min(APART, WIDEST / len(lines))
    with style():
        figure = Figure(figsize=(9 if len(scores) > 1 else 6.5, 4.4), layout="constrained")
        panels = figure.subplots(1, len(scores), squeeze=False)[0]
        for axes, score in zip(panels, scores, strict=True):
            for index, (key, line) in enumerate(lines.items()):
                shift = 10 ** (apart * (index - (len(lines) - 1) / 2))
                line_style = _line_style(key, list(lines))
                _draw(axes, line, score, shift=shift, label=names[key], **line_style)
            _dress(axes, result.shown[score], list(chain(*lines.values())))
        handles, titles = panels[0].get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside lower center", ncols=min(4, len(lines)))
    return figure


def _lines(found: Sequence[Setting]) -> dict[Line, list[Setting]]:
    """Return the settings that differ in their labels alone, the fewest first."""
    lines: dict[Line, list[Setting]] = {}
    for each in found:
        what = each.configuration
        if what.labels is not None:
            key = what.mode, what.model, what.pretraining_events, what.finetuning
            lines.setdefault(key, []).append(each)
    return {
        key: sorted(line, key=lambda each: each.configuration.labels or 0)
        for key, line in lines.items()
    }


def _names(keys: Sequence[Line]) -> dict[Line, str]:
    """Return what tells each line from the others: its mode, and what else differs."""
    differs = [len({key[part] for key in keys} - {None}) > 1 for part in (1, 2)]
    tasks = len({key[:-1] for key in keys}) < len(keys)

    def name(mode: str | None, model: str | None, events: int | None, task: str) -> str:
        parts = [mode or "mode unknown"]
        parts += [model or "model unknown"] if differs[0] else []
        parts += [f"{events:,} events"] if differs[1] and events else []
        parts += [task] if tasks else []
        return ", ".join(parts)

    return {key: name(*key) for key in keys}


def _line_style(key: Line, keys: Sequence[Line]) -> dict[str, Any]:
    """Return the style of a line: colour and marker by mode, the dash by what was pretrained.

    Of more models than there are dashes the colour is the model's, the dash the mode's.
    """
    mode, marker = key[0], MARKERS.get(key[0], "x")
    modes, models = (list(dict.fromkeys(each[part] for each in keys)) for part in (0, 1))
    if len(models) > len(DASHES):
        dash = DASHES[modes.index(mode) % len(DASHES)]
        colour = PALETTE[models.index(key[1]) % len(PALETTE)]
        return {"color": colour, "marker": marker, "linestyle": dash}
    alike = list(dict.fromkeys(each[1:] for each in keys if each[0] == mode))
    dash = DASHES[alike.index(key[1:]) % len(DASHES)]
    return {"color": COLOURS.get(mode, PALETTE[5]), "marker": marker, "linestyle": dash}


def _draw(
    axes: Axes, line: Sequence[Setting], score: str, *, shift: float, **line_style: Any
) -> None:
    """Draw one line with its error bars, each as far down and up as is known."""
    known = [each for each in line if each.mean(score) is not None]
    labels = [(each.configuration.labels or 0) * shift for each in known]
    means = [each.mean(score) or 0.0 for each in known]
    below, above = zip(*(_error(each, score) for each in known), strict=True) if known else ((), ())
    axes.errorbar(
        labels, means, (below, above), markersize=5, elinewidth=1.2, capsize=2.5, **line_style
    )


def _error(setting: Setting, score: str) -> tuple[float, float]:
    """Return how far the error bar of a mean reaches down and up, not a number if unknown."""
    spread, mean = setting.spread(score), setting.mean(score)
    if spread is not None:
        return spread, spread
    interval = setting.interval(score)
    if interval is None or mean is None or not math.isfinite(interval[1]):
        return math.nan, math.nan
    return max(mean - interval[0], 0.0), max(interval[1] - mean, 0.0)


def _dress(axes: Axes, title: str, found: Sequence[Setting]) -> None:
    """Give the axes their words, and a tick at each number of labels that fits."""
    axes.set(xscale="log", xlabel="labelled events", ylabel=title)
    axes.xaxis.set_major_locator(_ticks(found))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid()


def _ticks(found: Sequence[Setting]) -> Locator:
    """Return ticks at the counts themselves, at decades where those are many or close."""
    counts = sorted({each.configuration.labels or 1 for each in found})
    close = any(more < 2 * less for less, more in pairwise(counts))
    return LogLocator() if close or len(counts) > MOST_TICKS else FixedLocator(counts)
