"""Trainings that learned something of a part of each batch only, as their results say it."""

from collections.abc import Sequence

from pipeline.campaign.together import KEY
from pipeline.records import Trained
from pipeline.report.tasks import TaskView
from pipeline.report.unseen import Caution


def divided(tasks: Sequence[TaskView]) -> list[Caution]:
    """Return what the finished trainings among `tasks` say of it, each thing once."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        if isinstance(task.result, Trained) and task.state == "done" and KEY in task.result.extra:
            found.setdefault(task.result.extra[KEY], []).append(task.key)
    return [Caution(sentence, keys) for sentence, keys in found.items()]
