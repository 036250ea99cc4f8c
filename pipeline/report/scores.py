"""The scores of every evaluation, with the configuration behind each number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pipeline.campaign import Campaign
from pipeline.downstream import DownstreamTask, restored
from pipeline.evaluation.result import Pictures
from pipeline.families import FAMILIES
from pipeline.records import Evaluated, Trained
from pipeline.report.reader import Reader
from pipeline.report.tasks import Table, TaskView
from pipeline.report.unseen import trained_on
from pipeline.run import TaskFolder


@dataclass(frozen=True)
class Configuration:
    """The origin of one evaluation; None where the run folder does not say.

    `finetuning` is its name in the campaign, `training` the key of the task that trained it. `data`
    is the SHA-256 that stands for the store's shards, `checkpoint` that of the weights.
    """

    finetuning: str
    task: DownstreamTask
    training: str | None
    model: str | None
    family: str | None
    width: int | None
    layers: int | None
    parameters: int | None
    pretraining_events: int | None
    pretraining_seed: int | None
    mode: str | None
    labels: int | None
    seed: int | None
    steps: int | None
    data: str | None
    checkpoint: str | None

    @property
    def setting(self) -> tuple[Any, ...]:
        """All that two runs share that differ in their seeds alone."""
        events = self.pretraining_events
        return self.finetuning, self.model, self.width, self.layers, events, self.mode, self.labels

    @property
    def fidelity(self) -> str:
        """By what the model is known to be the published one, empty where the family is unknown."""
        return FAMILIES[self.family].fidelity() if self.family in FAMILIES else ""

    @property
    def seeds(self) -> tuple[int | None, int | None]:
        """The seeds of the pretraining and of the fine-tuning."""
        return self.pretraining_seed, self.seed


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation, with what it left to draw, and its file of predictions if any."""

    key: str
    configuration: Configuration
    result: Evaluated
    pictures: Pictures
    predictions: Path | None = None


@dataclass(frozen=True)
class Setting:
    """Evaluations that differ in their seeds alone."""

    evaluations: Sequence[Evaluation]

    @property
    def configuration(self) -> Configuration:
        """The configuration of the first of them."""
        return self.evaluations[0].configuration

    def values(self, score: str) -> list[float]:
        """Return `score` of each evaluation that has it, and of which it is a number."""
        values = [each.result.scores.get(score, math.nan) for each in self.evaluations]
        return [value for value in values if math.isfinite(value)]

    @property
    def trained_on(self) -> int:
        """The most events that one of them tested on and that its model was trained on."""
        return trained_on([each.result for each in self.evaluations])

    def mean(self, score: str) -> float | None:
        """Return the mean of `score` over the seeds."""
        values = self.values(score)
        return mean(values) if values else None

    def spread(self, score: str) -> float | None:
        """Return the standard deviation of `score` over the seeds, None for one seed."""
        values = self.values(score)
        return stdev(values) if len(values) > 1 else None

    def interval(self, score: str) -> tuple[float, float] | None:
        """Return the 68 % interval over events of the only evaluation that has `score`."""
        known = [
            each.result
            for each in self.evaluations
            if not math.isnan(each.result.scores.get(score, math.nan))
        ]
        return known[0].intervals.get(score) if len(known) == 1 else None


def evaluations(tasks: Sequence[TaskView], campaign: Campaign, reader: Reader) -> list[Evaluation]:
    """Return the finished evaluations among `tasks`."""
    by_key = {task.key: task for task in tasks}
    return [
        Evaluation(
            key=task.key,
            configuration=_configuration(task, task.result, by_key, campaign),
            result=task.result,
            pictures=reader.record(task.folder.pictures, Pictures) or Pictures(),
            predictions=_predictions(task.folder, task.result),
        )
        for task in tasks
        if isinstance(task.result, Evaluated) and task.state == "done"
    ]


def _predictions(folder: TaskFolder, result: Evaluated) -> Path | None:
    """Return the file of predictions that is there, None for none."""
    path = folder.path / result.predictions.file if result.predictions is not None else None
    return path if path is not None and path.is_file() else None


def settings(found: Sequence[Evaluation]) -> list[Setting]:
    """Return the evaluations gathered by setting; of the same seeds the first counts."""
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], Evaluation]] = {}
    for each in found:
        group = groups.setdefault(each.configuration.setting, {})
        group.setdefault(each.configuration.seeds, each)
    return [Setting(list(group.values())) for group in groups.values()]


def best(found: Sequence[Setting], score: str, task: DownstreamTask) -> Setting | None:
    """Return the setting whose mean of `score` is best, None where none has it."""
    known = [(value, each) for each in found if (value := each.mean(score)) is not None]
    return min(known, key=lambda pair: task.badness(score, pair[0]))[1] if known else None


def _configuration(
    task: TaskView, result: Evaluated, by_key: Mapping[str, TaskView], campaign: Campaign
) -> Configuration:
    """Return what `task` evaluated, from the declarations of the tasks it needs."""
    finetune = _needed(task.declaration, "finetune", by_key)
    declared_task: Table = finetune.declaration if finetune else {}
    made = finetune.result if finetune else None
    trained = made if isinstance(made, Trained) else None
    pretrain = _needed(declared_task, "pretrain", by_key)
    parent: Table = pretrain.declaration if pretrain else {}
    model: Table = declared_task.get("model", {})
    finetuning = _finetuning(task.name, campaign)
    return Configuration(
        finetuning=finetuning,
        task=restored(declared_task.get("head", {}), result.task),
        training=finetune.key if finetune else None,
        model=model_name(model, campaign, finetuning),
        family=model.get("family"),
        width=model.get("width"),
        layers=model.get("layers"),
        parameters=trained.parameters if trained else None,
        pretraining_events=parent.get("events"),
        pretraining_seed=parent.get("seed"),
        mode=declared_task.get("mode"),
        labels=declared_task.get("labels"),
        seed=declared_task.get("seed"),
        steps=trained.steps if trained else None,
        data=result.store_sha256,
        checkpoint=result.weights_sha256,
    )


def model_name(model: Table, campaign: Campaign, finetuning: str = "") -> str | None:
    """Return the name that the campaign gives to the declaration of a model, None if none.

    A `finetuning` may have changed the declaration. What was recorded when a task was run leaves
    out the keys that are not set, so these do not count.
    """
    grid = campaign.finetune.get(finetuning)
    declared = campaign.models
    if grid and grid.changes:
        tuned = grid.models or tuple(campaign.pretrain.models if campaign.pretrain else ())
        declared = {name: grid.model_of(declared[name]) for name in tuned}
    recorded = _set_keys(model)
    known = {name: _set_keys(each.model_dump(mode="json")) for name, each in declared.items()}
    return next((name for name, each in known.items() if each == recorded), None)


def _set_keys(table: Any) -> Any:
    """Return a table, and the tables in it, without the keys that are None."""
    if isinstance(table, Mapping):
        return {key: _set_keys(each) for key, each in table.items() if each is not None}
    return [_set_keys(each) for each in table] if isinstance(table, list | tuple) else table


def _finetuning(name: str, campaign: Campaign) -> str:
    """Return which fine-tuning of the campaign the task `name` is of, its name if of none."""
    matching = (each for each in campaign.finetune if name.startswith(f"{each}-"))
    return max(matching, key=len, default=name)


def _needed(task: Table, stage: str, by_key: Mapping[str, TaskView]) -> TaskView | None:
    """Return the task of `stage` that `task` needs."""
    keys = [key for key in task.get("needs", ()) if key.startswith(f"{stage}/")]
    return by_key.get(keys[0]) if keys else None
