"""A training that is declared longer, or with another end, goes on from one of its checkpoints.

What it made is kept in `replaced/` with the checkpoints that lie beyond; those before stay.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline import records
from pipeline.campaign import FinetuneTask, PretrainTask, Task
from pipeline.campaign.identity import Difference
from pipeline.campaign.lengthening import common_events, is_trunk
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.records import Beginning, TaskProgress
from pipeline.run import TaskFolder


def start(before: Task, now: Task, folder: TaskFolder, differences: Sequence[Difference]) -> int:
    """Return the events seen at which `now` goes on from a checkpoint of `before`, 0 for none.

    A trunk goes back to before the first branch point that it has no checkpoint of.
    """
    common = common_events(before, now, differences)
    saved = [events for events in folder.saved if events <= common]
    points = now.branch_points if isinstance(now, PretrainTask) else ()
    whole = [each for each in saved if all(point in saved for point in points if point <= each)]
    return max(whole, default=0)


def has_all_branches(
    before: Task, now: Task, folder: TaskFolder, differences: Sequence[Difference]
) -> bool:
    """Return whether a finished trunk has the checkpoints that are wanted, and needs no more."""
    if not is_trunk(now) or not folder.is_done:
        return False
    return start(before, now, folder, differences) == end_of(now)


def end_of(task: Task) -> int:
    """Return the events seen of a training at its end, 0 for another task."""
    if not isinstance(task, PretrainTask | FinetuneTask):
        return 0
    return task.training.steps * task.training.batch_events


def go_back(now: Task, folder: TaskFolder, begun: Beginning, aside: Path) -> None:
    """Keep in the folder `aside` what a training made, all but the checkpoints that `now` shares.

    It is not done from the first move on, and what is left goes on from the checkpoint at
    `begun.events_seen` at any moment.
    """
    aside.mkdir(parents=True, exist_ok=True)
    for path in (folder.done, folder.result, folder.path / WEIGHTS, folder.chain):
        if path.exists():
            path.rename(aside / path.name)
    for path in (folder.declaration, folder.metrics):
        if path.exists():
            shutil.copy2(path, aside / path.name)
    beyond = [events for events in folder.saved if events > begun.events_seen]
    for path in (folder.checkpoints / f"step-{events:012d}" for events in reversed(beyond)):
        (aside / folder.checkpoints.name).mkdir(exist_ok=True)
        path.rename(aside / folder.checkpoints.name / path.name)
    progress = TaskProgress(done=begun.events_seen, total=end_of(now), unit="events")
    records.write(folder.progress, progress)
    records.write(folder.beginning, begun)
