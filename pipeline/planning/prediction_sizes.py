"""The disk space of the predictions that a plan's evaluations keep, a row for each event."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import records
from pipeline.campaign import Campaign, EvaluateTask, FinetuneTask, StageTask
from pipeline.data.space import Room
from pipeline.downstream import DownstreamTask
from pipeline.outcome import RunError
from pipeline.planning import truth
from pipeline.planning.plan import Plan
from pipeline.records import Evaluated
from pipeline.run import TaskFolder

OWN_BYTES = 24  # of a row: the event's id, its entry, and its file's name, which many rows share
TRUTH_BYTES = 4  # of one value, most of which are float32 or int32
LIST_BYTES = 4  # of the length of the list that an event has of its points
OPTIONAL = 1  # truth of points that is kept where a store has it: their particles' momentum


@dataclass(frozen=True)
class Sizes:
    """The bytes of the predictions of `evaluations` evaluations; of `unknown` more nobody can say.

    They are those on the disk where an evaluation is done; else the most, since nothing is said of
    how well the values compress.
    """

    bytes: int
    evaluations: int
    unknown: int

    @property
    def lines(self) -> list[str]:
        """One line on them; none where nothing is known."""
        if not self.evaluations:
            return []
        size = Room(self.bytes, self.evaluations)
        line = f"The predictions of every evaluated event need at most {size}."
        if self.unknown:
            line += f" Of {self.unknown:,} more it is known once their data are staged."
        return [line]


def sizes(plan: Plan, campaign: Campaign) -> Sizes:
    """Return the space of the predictions of all evaluations of `plan`."""
    tasks = {step.task.key: step.task for step in plan.steps}
    found = [
        _bytes(task, tasks, plan, campaign)
        for task in tasks.values()
        if isinstance(task, EvaluateTask)
    ]
    known = [each for each in found if each is not None]
    return Sizes(sum(known), len(known), len(found) - len(known))


def _bytes(
    task: EvaluateTask, tasks: Mapping[str, object], plan: Plan, campaign: Campaign
) -> int | None:
    """Return the bytes of the predictions of one evaluation, None where they are not known."""
    there = _on_disk(plan.run.task(task.key))
    if there is not None:
        return there
    finetune = next((tasks[key] for key in task.needs if key in tasks), None)
    counts = _counts(task, plan, campaign)
    if not isinstance(finetune, FinetuneTask) or counts is None:
        return None
    events, points = counts
    per_event, per_point = row_bytes(finetune.head)
    if per_point and points is None:
        return None
    return round(events * per_event + (points or 0) * per_point)


def _on_disk(folder: TaskFolder) -> int | None:
    """Return the bytes of predictions that are there; None for none."""
    try:
        result = records.read(folder.result, Evaluated) if folder.is_done else None
    except RunError:
        return None
    return result.predictions.bytes if result is not None and result.predictions else None


def row_bytes(head: DownstreamTask) -> tuple[int, int]:
    """Return the bytes of one event and of one point; what is not known of them counts 0."""
    kinds = head.predictions().values()
    of_points = [each.row_bytes for each in kinds if each.per == "point"]
    of_events = [each.row_bytes for each in kinds if each.per == "event"]
    points = len(head.truth_per_point()) + OPTIONAL * bool(of_points)
    lists = LIST_BYTES * (len(of_points) + points)
    events = TRUTH_BYTES * len(head.truth_per_event())
    return OWN_BYTES + lists + sum(of_events) + events, sum(of_points) + TRUTH_BYTES * points


def _counts(
    task: EvaluateTask, plan: Plan, campaign: Campaign
) -> tuple[float, float | None] | None:
    """Return the events and the points of what is evaluated, as far as the plan knows them."""
    origin = truth.origin(plan, task.store)
    manifest = truth.manifest_of(task.store) or truth.manifest_of(origin)
    if manifest is not None:
        return manifest.events.get(task.split, 0), manifest.points.get(task.split, 0)
    staged = (step.task for step in plan.steps if isinstance(step.task, StageTask))
    stage = next((each for each in staged if each.store == origin), None)
    simulation = campaign.simulations.get(stage.dataset.simulation or "") if stage else None
    if simulation is None or stage is None:
        return None
    events = float(simulation.events_per_file * _files(stage, task.split))
    mean = stage.dataset.mean_points
    return events, None if mean is None else events * mean


def _files(stage: StageTask, split: str) -> float:
    """Return how many files a split has; events that are dealt one by one count as a share."""
    fractions = stage.dataset.fractions
    files = sum(map(len, stage.sources.values()))
    return files * fractions.get(split, 0.0) if fractions else len(stage.sources.get(split, ()))
