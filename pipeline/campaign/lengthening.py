"""Where two declarations of one training are still the same training.

A constant rate is the same function of the events seen however long the training is, and a
trapezoid until its decay begins; so a longer one goes on from a checkpoint of a shorter one, and
its weights are those of a training that was planned so (Hägele et al., arXiv 2405.18392, §3). A
cosine, a one-cycle and points are stretched by their length, and differ from the first step on.
"""

from collections.abc import Sequence

from pipeline.campaign import branching
from pipeline.campaign.identity import Difference
from pipeline.campaign.tasks import FinetuneTask, PretrainTask, Task
from pipeline.campaign.training import Training

OF_THE_END = frozenset(
    f"training.{name}"
    for name in (
        *("events_seen", "schedule", "decay_events", "decay_fraction", "decay_shape"),
        "final_learning_rate",
    )
)
OF_TRUNK = frozenset({"events", "branch_points"})  # a trunk passes over the whole split in any case
UNSTRETCHED = ("constant", "trapezoid")


def is_of_length(before: Task, now: Task, differences: Sequence[Difference]) -> bool:
    """Return whether only that differs which says how long a training is, and how it ends."""
    if not isinstance(now, PretrainTask | FinetuneTask) or type(before) is not type(now):
        return False
    allowed = OF_THE_END | (OF_TRUNK if is_trunk(now) else frozenset())
    return all(each.key in allowed for each in differences)


def common_events(before: Task, now: Task, differences: Sequence[Difference]) -> int:
    """Return the events seen up to which `before` and `now` are the same training, 0 if to none."""
    if not is_of_length(before, now, differences):
        return 0
    trainings = _trainings(before, now)
    if any(each.schedule not in UNSTRETCHED for each in trainings):
        return 0
    return min(map(branching.branch_point, trainings))


def is_trunk(task: Task) -> bool:
    """Return whether a task is a trunk, whose product are its checkpoints where others branch."""
    return isinstance(task, PretrainTask) and bool(task.branch_points)


def why_not(before: Task, now: Task, differences: Sequence[Difference]) -> str:
    """Return why a training of another length does not go on, empty if it is of another kind."""
    if not is_of_length(before, now, differences):
        return ""
    names = dict.fromkeys(each.schedule for each in _trainings(before, now))
    stretched = [name for name in names if name not in UNSTRETCHED]
    if stretched:
        return (
            f"schedule {stretched[0]!r} of another length differs from its first step on; a "
            "constant one or a trapezoid would go on"
        )
    common = common_events(before, now, differences)
    return f"it has no checkpoint of its first {common:,} events, up to which both are the same"


def _trainings(*tasks: Task) -> list[Training]:
    """Return the trainings of tasks that have one, and are no tokenizer's."""
    return [each.training for each in tasks if isinstance(each, PretrainTask | FinetuneTask)]
