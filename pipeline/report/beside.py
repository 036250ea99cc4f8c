"""Several runs side by side: what was declared differently, and what came out of it.

They need not be of one campaign. Results are compared where fine-tuning, model, mode, labels and
events of the pretraining have the same names and counts, with the first run as the reference.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.campaign import Campaign, to_toml
from pipeline.masking import masked
from pipeline.records import Trained
from pipeline.report.gains import Gain, gain_of
from pipeline.report.machines import Machine, gather
from pipeline.report.plots import Curve, loss_curves
from pipeline.report.reader import Reader
from pipeline.report.results import TaskResults, results
from pipeline.report.scores import Setting, evaluations
from pipeline.report.sections import TRAININGS, Plot, curve
from pipeline.report.tasks import TaskView
from pipeline.run import Run
from pipeline.site import Site

UNDECLARED = "–"
NAMES = ("name", "description")  # of a campaign, which decide nothing
MOST_CURVES = 24  # of a figure


@dataclass(frozen=True)
class Column:
    """One run: `label` is unlike that of the others."""

    label: str
    run: Run
    campaign: Campaign
    site: Site
    tasks: Sequence[TaskView]
    results: Mapping[str, TaskResults]
    node_hours: Mapping[str, float]
    commit: str

    @property
    def done(self) -> int:
        """How many tasks are done."""
        return sum(each.state == "done" for each in self.tasks)


@dataclass(frozen=True)
class Difference:
    """A key that is not the same in all runs: its value in each, as TOML would have it."""

    key: str
    values: Sequence[str]


@dataclass(frozen=True)
class Row:
    """One setting in all runs: its cells, None where a run has none, and each less the first.

    `same_events` says that all were tested on the same.
    """

    finetuning: str
    model: str
    events: int | None
    mode: str
    labels: int | None
    cells: Sequence[Setting | None]
    changes: Sequence[Gain | None]
    same_events: bool

    @property
    def name(self) -> str:
        """The setting in words."""
        of = f", pretrained on {self.events:,} events" if self.events else ""
        labels = f", {self.labels:,} labels" if self.labels is not None else ""
        return f"{self.model}{of}, {self.mode}{labels}"


@dataclass(frozen=True)
class Compared:
    """The results of one fine-tuning in all runs, by its first score."""

    name: str
    score: str
    title: str
    smaller_is_better: bool
    rows: Sequence[Row]


@dataclass(frozen=True)
class Pretrained:
    """The last loss of a pretraining in each run, None where it is not done."""

    name: str
    losses: Sequence[float | None]


@dataclass(frozen=True)
class Beside:
    """All that is compared."""

    columns: Sequence[Column]
    differences: Sequence[Difference]
    compared: Sequence[Compared]
    pretrained: Sequence[Pretrained]
    problems: Sequence[str]


def beside(runs: Sequence[tuple[str, Campaign, Run, Site]]) -> Beside:
    """Return some runs side by side, each with the name that was given for it."""
    reader = Reader()
    columns = [_column(*each, reader) for each in runs]
    return Beside(
        columns,
        list(_differences([each.campaign for each in columns])),
        list(_compared(columns)),
        list(_pretrained(columns)),
        reader.problems,
    )


def loss_plots(columns: Sequence[Column], reader: Reader) -> list[Plot]:
    """Return the losses of the trainings of models and tokenizers that several runs have."""
    plots = []
    for stage in ("tokenize", "pretrain"):
        begun: dict[str, list[Curve]] = {}
        for column in columns:
            for task in (each for each in column.tasks if each.stage == stage):
                found = curve(task, reader)
                if len(found.loss):
                    begun.setdefault(task.name, []).append(replace(found, label=column.label))
        plots += [
            Plot(f"{TRAININGS[stage]} {name}", loss_curves(curves[:MOST_CURVES]))
            for name, curves in begun.items()
            if len(curves) > 1
        ]
    return plots


def _column(label: str, campaign: Campaign, run: Run, site: Site, reader: Reader) -> Column:
    """Return what is compared of one run."""
    together = gather([Machine(run, site.name, site.name)], campaign, reader)
    found = results(evaluations(together.tasks, campaign, reader))
    hours: dict[str, float] = {}
    for account in together.accounts:
        hours[account.site] = hours.get(account.site, 0.0) + account.charged_node_hours
    commit = str(reader.table(run.environment).get("commit") or "")
    by_name = {each.name: each for each in found}
    return Column(label, run, campaign, site, together.tasks, by_name, hours, commit)


def _differences(campaigns: Sequence[Campaign]) -> Iterator[Difference]:
    """Yield each key that the campaigns do not declare alike, in the order of the first."""
    flat = [dict(_flat(tomllib.loads(masked(to_toml(each))))) for each in campaigns]
    keys = dict.fromkeys(key for each in flat for key in each)
    for key in keys:
        values = [each.get(key, UNDECLARED) for each in flat]
        if key not in NAMES and len(set(values)) > 1:
            yield Difference(key, values)


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a table by their keys, with dots between these."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", json.dumps(value, default=str, ensure_ascii=False)


def _compared(columns: Sequence[Column]) -> Iterator[Compared]:
    """Yield the results of each fine-tuning that some run has."""
    for name in dict.fromkeys(name for column in columns for name in column.results):
        first = next(column.results[name] for column in columns if name in column.results)
        if not first.first:
            continue
        smaller = first.first in first.task.SMALLER_IS_BETTER
        rows = list(_rows(name, first.first, columns))
        title = first.shown.get(first.first, first.first)
        yield Compared(name, first.first, title, smaller, rows)


def _rows(name: str, score: str, columns: Sequence[Column]) -> Iterator[Row]:
    """Yield each setting of a fine-tuning; that of a run with several of its names is the first."""
    found: dict[tuple[Any, ...], list[Setting | None]] = {}
    for number, column in enumerate(columns):
        for each in column.results[name].settings if name in column.results else ():
            what = each.configuration
            key = (what.model or "", what.pretraining_events, what.mode or "", what.labels)
            cells = found.setdefault(key, [None] * len(columns))
            cells[number] = cells[number] or each
    for (model, events, mode, labels), cells in found.items():
        changes = [_change(each, cells[0], score) for each in cells[1:]]
        stores = {each.configuration.data for each in cells if each}
        yield Row(name, model, events, mode, labels, cells, changes, len(stores) < 2)


def _change(setting: Setting | None, reference: Setting | None, score: str) -> Gain | None:
    """Return what `setting` has more than the reference, None where one of them is missing."""
    return gain_of(setting, reference, score, 1.0) if setting and reference else None


def _pretrained(columns: Sequence[Column]) -> Iterator[Pretrained]:
    """Yield the pretrainings that several runs have by one name."""
    found: dict[str, list[float | None]] = {}
    for number, column in enumerate(columns):
        for task in column.tasks:
            if task.stage == "pretrain" and isinstance(task.result, Trained):
                found.setdefault(task.name, [None] * len(columns))[number] = task.result.loss
    for name, losses in found.items():
        if sum(loss is not None for loss in losses) > 1:
            yield Pretrained(name, losses)
