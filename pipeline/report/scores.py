"""The scores of every evaluation, with the configuration behind each number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from pipeline.campaign import Campaign
from pipeline.downstream import DownstreamTask, restored
from pipeline.report.reader import Reader
from pipeline.report.tasks import Table, TaskView


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
    def seeds(self) -> tuple[int | None, int | None]:
        """The seeds of the pretraining and of the fine-tuning."""
        return self.pretraining_seed, self.seed


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation; `metrics` is its evaluation.json, empty where it has none."""

    key: str
    configuration: Configuration
    result: Table
    metrics: Table

    def interval(self, score: str) -> tuple[float, float] | None:
        """Return the 68 % interval of `score` over events, where the result has one.

        Its upper end may be infinite, null in JSON: that of a rejection, if no background passes.
        """
        low, high = self.result.get(f"{score}_interval") or (None, None)
        if low is None or not math.isfinite(low):
            return None
        return low, math.inf if high is None else high


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
        values = [each.result.get(score) for each in self.evaluations]
        return [value for value in values if value is not None and math.isfinite(value)]

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
        known = [each for each in self.evaluations if each.result.get(score) is not None]
        return known[0].interval(score) if len(known) == 1 else None


def evaluations(tasks: Sequence[TaskView], campaign: Campaign, reader: Reader) -> list[Evaluation]:
    """Return the finished evaluations among `tasks`."""
    by_key = {task.key: task for task in tasks}
    return [
        Evaluation(
            key=task.key,
            configuration=_configuration(task, by_key, campaign),
            result=task.result,
            metrics=reader.table(task.folder.path / "evaluation.json"),
        )
        for task in tasks
        if task.stage == "evaluate" and task.state == "done"
    ]


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
    task: TaskView, by_key: Mapping[str, TaskView], campaign: Campaign
) -> Configuration:
    """Return what `task` evaluated, from the declarations of the tasks it needs."""
    finetune = _needed(task.declaration, "finetune", by_key)
    declared_task: Table = finetune.declaration if finetune else {}
    made: Table = finetune.result if finetune else {}
    pretrain = _needed(declared_task, "pretrain", by_key)
    parent: Table = pretrain.declaration if pretrain else {}
    model: Table = declared_task.get("model", {})
    finetuning = _finetuning(task.name, campaign)
    return Configuration(
        finetuning=finetuning,
        task=restored(declared_task.get("head", {}), task.result.get("task", "")),
        training=finetune.key if finetune else None,
        model=model_name(model, campaign, finetuning),
        width=model.get("width"),
        layers=model.get("layers"),
        parameters=made.get("parameters"),
        pretraining_events=parent.get("events"),
        pretraining_seed=parent.get("seed"),
        mode=declared_task.get("mode"),
        labels=declared_task.get("labels"),
        seed=declared_task.get("seed"),
        steps=made.get("steps"),
        data=task.result.get("store_sha256"),
        checkpoint=task.result.get("weights_sha256"),
    )


def model_name(model: Table, campaign: Campaign, finetuning: str = "") -> str | None:
    """Return the name that the campaign gives to the declaration of a model, None if none.

    A `finetuning` may have changed the declaration.
    """
    grid = campaign.finetune.get(finetuning)
    declared = campaign.models
    if grid and grid.changes:
        tuned = grid.models or tuple(campaign.pretrain.models if campaign.pretrain else ())
        declared = {name: grid.model_of(declared[name]) for name in tuned}
    names = {str(each.model_dump(mode="json")): name for name, each in declared.items()}
    return names.get(str(model))


def _finetuning(name: str, campaign: Campaign) -> str:
    """Return which fine-tuning of the campaign the task `name` is of, its name if of none."""
    matching = (each for each in campaign.finetune if name.startswith(f"{each}-"))
    return max(matching, key=len, default=name)


def _needed(task: Table, stage: str, by_key: Mapping[str, TaskView]) -> TaskView | None:
    """Return the task of `stage` that `task` needs."""
    keys = [key for key in task.get("needs", ()) if key.startswith(f"{stage}/")]
    return by_key.get(keys[0]) if keys else None
