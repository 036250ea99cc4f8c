"""The results as tables for scripts and papers: JSON, CSV and LaTeX; no matplotlib needed."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.budget.account import Account
from pipeline.campaign import Campaign
from pipeline.report.formats import score as rounded
from pipeline.report.machines import Machine, gather
from pipeline.report.reader import Reader
from pipeline.report.results import TaskResults, results
from pipeline.report.scores import Setting, evaluations
from pipeline.run import Run

Format = Literal["json", "csv", "latex"]
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "±": r"$\pm$",
    "°": r"$^\circ$",
    "ε": r"$\varepsilon$",
    "σ": r"$\sigma$",
    "–": "--",
    "∞": r"$\infty$",
}


@dataclass(frozen=True)
class Score:
    """One score of one setting: mean and standard deviation over seeds, and the 68 % interval.

    `spread` is of several seeds, `low` and `high` of one; None where unknown. `values` are those of
    the single seeds.
    """

    score: str
    title: str
    mean: float | None
    spread: float | None
    low: float | None
    high: float | None
    best: bool
    values: Sequence[float]


@dataclass(frozen=True)
class Line:
    """One setting: what was evaluated, on what, at which price, with which scores.

    `stores` and `weights` are SHA-256 in full; `node_hours` those charged to its fine-tunings, by
    site, since node-hours of different machines are never added; `ran_at` are the sites of these.
    `test_events_trained_on` are the most that one evaluation had, 0 where all were unseen.
    """

    finetune: str
    task: str
    model: str | None
    parameters: int | None
    pretraining_events: int | None
    mode: str | None
    labels: int | None
    seeds: Sequence[int | None]
    pretraining_seeds: Sequence[int | None]
    evaluations: Sequence[str]
    ran_at: Sequence[str]
    node_hours: Mapping[str, float]
    stores: Sequence[str]
    weights: Sequence[str]
    test_events_trained_on: int
    scores: Sequence[Score]


def results_as(
    run: Run, campaign: Campaign, form: Format, machines: Sequence[Machine] = ()
) -> tuple[str, list[str]]:
    """Return the results of `run` in a format, and what could not be read.

    With `machines`, of which the first has this run, the results of all, and what is taken whence.
    """
    reader = Reader()
    together = gather(machines or [Machine(run, "", "")], campaign, reader)
    found = results(evaluations(together.tasks, campaign, reader))
    ran_at = {each.key: each.ran_at for each in together.tasks}
    lines = [line for result in found for line in lines_of(result, together.accounts, ran_at)]
    return FORMATS[form](lines), [*together.notes, *reader.problems]


def lines_of(
    result: TaskResults, accounts: Sequence[Account], ran_at: Mapping[str, str]
) -> Iterator[Line]:
    """Yield a line for each setting of a fine-tuning."""
    for setting in result.settings:
        what = setting.configuration
        every = [each.configuration for each in setting.evaluations]
        trainings = [each.training for each in every]
        yield Line(
            finetune=result.name,
            task=result.task.task,
            model=what.model,
            parameters=what.parameters,
            pretraining_events=what.pretraining_events,
            mode=what.mode,
            labels=what.labels,
            seeds=[each.seed for each in every],
            pretraining_seeds=[each.pretraining_seed for each in every],
            evaluations=[each.key for each in setting.evaluations],
            ran_at=_sites(trainings, ran_at),
            node_hours=_node_hours(trainings, accounts),
            stores=sorted({each.data for each in every if each.data}),
            weights=[each.checkpoint for each in every if each.checkpoint],
            test_events_trained_on=setting.trained_on,
            scores=[
                _score(setting, score, title, best=result.best.get(score) is setting)
                for score, title in result.shown.items()
            ],
        )


def _score(setting: Setting, score: str, title: str, *, best: bool) -> Score:
    """Return one score of a setting; an infinite end of an interval is None."""
    low, high = setting.interval(score) or (None, None)
    values = setting.values(score)
    end = high if high is not None and math.isfinite(high) else None
    return Score(score, title, setting.mean(score), setting.spread(score), low, end, best, values)


def _sites(trainings: Sequence[str | None], ran_at: Mapping[str, str]) -> list[str]:
    """Return the sites at which some trainings ran, without those that no ledger has."""
    return [where for each in trainings if (where := ran_at.get(each or "", ""))]


def _node_hours(trainings: Sequence[str | None], accounts: Sequence[Account]) -> dict[str, float]:
    """Return what the jobs of some trainings were charged, by site."""
    hours: dict[str, float] = {}
    for each in accounts:
        if each.task in trainings:
            hours[each.site] = hours.get(each.site, 0.0) + each.charged_node_hours
    return hours


def to_json(lines: Sequence[Line]) -> str:
    """Return the settings as JSON, an object each."""
    return json.dumps([asdict(line) for line in lines], indent=2, allow_nan=False) + "\n"


def to_csv(lines: Sequence[Line]) -> str:
    """Return a row for each score of each setting; lists are joined by spaces."""
    sites = dict.fromkeys(site for line in lines for site in line.node_hours)
    table = io.StringIO()
    writer = csv.DictWriter(table, [*_COLUMNS, *(f"node_hours_{site}" for site in sites)])
    writer.writeheader()
    for line in lines:
        about = {n: each for n, each in asdict(line).items() if n in _COLUMNS}
        hours = {f"node_hours_{site}": each for site, each in line.node_hours.items()}
        for score in line.scores:
            of_score = {n: each for n, each in asdict(score).items() if n in _COLUMNS}
            row = about | of_score | hours
            writer.writerow({name: _joined(each) for name, each in row.items()})
    return table.getvalue()


_COLUMNS = (
    *("finetune", "task", "model", "parameters", "pretraining_events", "mode", "labels"),
    "test_events_trained_on",
    *("score", "mean", "spread", "low", "high", "best", "values"),
    *("seeds", "pretraining_seeds", "stores", "weights", "evaluations", "ran_at"),
)


def _joined(value: Any) -> Any:
    """Return lists as words between spaces, nothing where it is not known."""
    if isinstance(value, list | tuple):
        return " ".join("-" if each is None else str(each) for each in value)
    return int(value) if isinstance(value, bool) else value


def to_latex(lines: Sequence[Line]) -> str:
    """Return a tabular in the style of booktabs for each fine-tuning, the best in bold."""
    by_name: dict[str, list[Line]] = {}
    for line in lines:
        by_name.setdefault(line.finetune, []).append(line)
    return "\n".join(_tabular(name, some) for name, some in by_name.items())


def _tabular(name: str, lines: Sequence[Line]) -> str:
    """Return the table of one fine-tuning."""
    titles = ["Mode", "Model", "Pretraining", "Labels", *(each.title for each in lines[0].scores)]
    rows = [" & ".join([*_about(line), *map(_cell, line.scores)]) for line in lines]
    dagger = ["% dagger: tested on events that the model was trained on"]
    return "\n".join(
        [
            f"% {name}: mean ± standard deviation over seeds, or the 68 % interval over events",
            *(dagger if any(line.test_events_trained_on for line in lines) else []),
            rf"\begin{{tabular}}{{llrr{'r' * len(lines[0].scores)}}}",
            r"\toprule",
            " & ".join(map(escaped, titles)) + r" \\",
            r"\midrule",
            *(rf"{row} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _about(line: Line) -> list[str]:
    """Return the first cells of a row."""
    counts = (f"{each:,}" if each else "–" for each in (line.pretraining_events, line.labels))
    mark = r"$^\dagger$" if line.test_events_trained_on else ""
    return [escaped(line.mode or "–") + mark, *map(escaped, (line.model or "–", *counts))]


def _cell(cell: Score) -> str:
    """Return the cell of a score."""
    value = escaped(rounded(cell.mean))
    text = rf"\textbf{{{value}}}" if cell.best else value
    if cell.spread is not None:
        return rf"{text} $\pm$ {rounded(cell.spread, cell.mean)}"
    if cell.low is not None and cell.high is not None:
        return f"{text} [{rounded(cell.low, cell.mean)}, {rounded(cell.high, cell.mean)}]"
    return text


def escaped(text: str) -> str:
    """Return `text` as LaTeX prints it."""
    return "".join(SPECIAL.get(each, each) for each in text)


FORMATS: Mapping[str, Callable[[Sequence[Line]], str]] = {
    "json": to_json,
    "csv": to_csv,
    "latex": to_latex,
}
