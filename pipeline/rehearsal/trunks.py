"""A grid in which the data sizes of each model branch from one trunk, to compare its cost."""

from collections.abc import Sequence

from pipeline.campaign import PretrainTask, Task, Training, branching
from pipeline.campaign.tasks import Trunk
from pipeline.run import Run

DECAY = 0.2  # of each size: our assumption, as in docs/training.md


def on_trunks(tasks: Sequence[Task], run: Run) -> list[Task]:
    """Return the tasks of the same campaign with a trunk for each model and seed of several sizes.

    Each size is a decay that branches from it (`pipeline.campaign.branching`) and ends after as
    many events as its training sees; what needs the trainings needs the branches. It says what that
    would cost, and is not meant to be run: to branch, the data are passed once, in one order.

    Trainings that see the same number of events, on whatever subset, stay as they are.
    """
    ladders: dict[tuple[str, int], list[PretrainTask]] = {}
    for task in tasks:
        if isinstance(task, PretrainTask) and task.trunk is None and not task.branch_points:
            ladders.setdefault((task.key.rpartition("-d")[0], task.seed), []).append(task)
    changed: dict[str, Task] = {}
    trunks: dict[str, Task] = {}  # by the key of the size that stands first
    for (name, seed), sizes in ladders.items():
        if len({each.training.events_seen for each in sizes}) == len(sizes) > 1:
            trunk, branches = _branched(f"{name}-trunk-s{seed}", sizes, run)
            trunks[sizes[0].key] = trunk
            changed |= {each.key: each for each in branches}
    return [
        each
        for task in tasks
        for each in (trunks.get(task.key), changed.get(task.key, task))
        if each is not None
    ]


def _branched(
    key: str, sizes: Sequence[PretrainTask], run: Run
) -> tuple[PretrainTask, list[PretrainTask]]:
    """Return the trunk of a model, and its branches."""
    by_length = sorted(sizes, key=lambda each: each.training.events_seen)
    longest = _trapezoid(by_length[-1].training, by_length[0].training.warmup_events)
    trainings = [branching.trapezoid(longest, each.training.events_seen) for each in sizes]
    points = [branching.branch_point(each) for each in trainings]
    trunk = by_length[-1].model_copy(
        update={
            "key": key,
            "branch_points": tuple(sorted(points)),
            "training": branching.trunk(longest),
        }
    )
    branches = [
        each.model_copy(
            update={
                "needs": (*each.needs, key),
                "training": training,
                "trunk": Trunk(folder=run.task(key).path, events_seen=point),
            }
        )
        for each, training, point in zip(sizes, trainings, points, strict=True)
    ]
    return trunk, branches


def _trapezoid(training: Training, warmup_events: int) -> Training:
    """Return `training` with the warm-up of the shortest one, and a decay at its end."""
    changes = {
        "schedule": "trapezoid",
        "warmup_events": warmup_events,
        "decay_events": 0,
        "decay_fraction": DECAY,
    }
    return Training(**{**training.model_dump(), **changes})
