"""Tests on events that a model was trained on, or may have been, as the results say it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.records import Evaluated, Probed
from pipeline.report.tasks import TaskView


@dataclass(frozen=True)
class Caution:
    """One thing to know of the numbers of some tasks."""

    sentence: str
    tasks: Sequence[str]


def cautions(tasks: Sequence[TaskView]) -> list[Caution]:
    """Return what the finished evaluations and probes among `tasks` tested on, each thing once."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        if isinstance(task.result, Evaluated | Probed) and task.state == "done":
            for sentence in said(task.result):
                found.setdefault(sentence, []).append(task.key)
    return [Caution(sentence, keys) for sentence, keys in found.items()]


def said(result: Evaluated | Probed) -> list[str]:
    """Return what is to be known of the events of one result."""
    unknown = (
        f"What the weights in {each} were trained on is not known: they may have seen these events"
        for each in result.unknown_training
    )
    return [*(each.sentence for each in result.overlap), *unknown]


def trained_on(results: Sequence[Evaluated | Probed]) -> int:
    """Return the most events that one of `results` tested on and any training had seen."""
    return max((each.events for result in results for each in result.overlap), default=0)
