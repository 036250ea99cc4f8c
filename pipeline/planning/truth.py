"""Whether the datasets have the truth that a campaign asks for, before anything is submitted.

A store knows its arrays and the labels of its events; before it is staged, an experiment may know
how many classes its files count. Where neither is known, that is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.campaign import (
    FeaturesTask,
    FinetuneTask,
    PretrainTask,
    StageTask,
    Task,
    TokenizeTask,
)
from pipeline.data.errors import BadInput
from pipeline.data.experiments import experiment
from pipeline.data.store.content import DERIVED, LABEL
from pipeline.data.store.manifest import MANIFEST, Manifest, read_manifest
from pipeline.planning.plan import Plan

Learner = FinetuneTask | PretrainTask


@dataclass(frozen=True)
class Labels:
    """The labels that events of a split may have, and those that some events have for certain."""

    source: str
    possible: frozenset[int]
    certain: frozenset[int] = frozenset()


def problems(plan: Plan) -> Iterator[str]:
    """Yield a line for each array or class that a task learns and its dataset lacks, once."""
    found: dict[str, str] = {}
    for task in _learners(plan):
        line = lacking(task) or _refusal(task, _expected(plan, task))
        if line:
            found.setdefault(line, task.key)
    for line, key in found.items():
        yield f"{key}: {line}"


def unknown(plan: Plan) -> Iterator[str]:
    """Yield a line for each store of which it is not known whether it has all classes of a task."""
    stores = (task.store for task in _learners(plan) if _is_unknown(plan, task))
    for store in dict.fromkeys(stores):
        yield (
            f"{store}: which classes its events have is not known yet. It is checked as soon as "
            "the store is there, before a training on it is submitted."
            if manifest_of(store) is None
            else f"{store}: it was staged before stores recorded which classes their events have, "
            "so the classes of the trainings on it are not checked."
        )


def lacking(task: Task) -> str:
    """Return which truth that a task learns its staged store lacks, empty if none is missing.

    Of a store that is not staged nothing is known.
    """
    manifest = manifest_of(task.store) if isinstance(task, FinetuneTask | PretrainTask) else None
    if manifest is None or not isinstance(task, FinetuneTask | PretrainTask):
        return ""
    return _without_arrays(task, manifest) or _refusal(task, _stored(task, manifest))


def _learners(plan: Plan) -> Iterator[Learner]:
    """Yield the tasks that learn truth of a store."""
    for step in plan.steps:
        if isinstance(step.task, FinetuneTask | PretrainTask):
            yield step.task


def _is_unknown(plan: Plan, task: Learner) -> bool:
    """Whether it is not known if the events of a task have its classes, and no others."""
    if LABEL not in _truth(task):
        return False
    manifest = manifest_of(task.store)
    if manifest is not None:
        return _stored(task, manifest) is None
    known = _expected(plan, task)
    if known is None:
        return True
    every = Labels(known.source, known.possible, known.certain or known.possible)
    return not _refusal(task, known) and bool(_refusal(task, every))


def _truth(task: Learner) -> tuple[str, ...]:
    """Return the arrays of truth that a task learns."""
    if isinstance(task, FinetuneTask):
        return (*task.head.truth_per_point(), *task.head.truth_per_event())
    return task.model.reads().per_event


def _without_arrays(task: Learner, manifest: Manifest) -> str:
    """Return which arrays of truth the store of a task lacks, empty if none."""
    wanted = [stored for name in _truth(task) for stored in DERIVED.get(name, (name,))]
    for shard in (each for each in manifest.shards if each.split == task.split):
        missing = [name for name in wanted if name not in shard.arrays]
        if missing:
            return (
                f"{task.store}: split {task.split!r} has no {', '.join(missing)}, which it learns; "
                f"it has {', '.join(sorted(shard.arrays))}. Was it staged from files without truth?"
            )
    return ""


def _refusal(task: Learner, known: Labels | None) -> str:
    """Return why a task cannot learn from events of such labels, empty if it can or may."""
    if known is None or LABEL not in _truth(task):
        return ""
    learner = task.head if isinstance(task, FinetuneTask) else task.model
    refusal = learner.refuses_labels(known.possible, known.certain)
    return f"{known.source}: {refusal}" if refusal else ""


def _expected(plan: Plan, task: Learner) -> Labels | None:
    """Return the labels that the events of a store will have that is not there yet, if known.

    They are those of the store that it is made from, or of the experiment.
    """
    if manifest_of(task.store) is not None:
        return None
    staged_as = origin(plan, task.store)
    manifest = manifest_of(staged_as)
    if manifest is not None:
        return _stored(task, manifest, str(staged_as))
    staged = (step.task for step in plan.steps if isinstance(step.task, StageTask))
    dataset = next((each.dataset for each in staged if each.store == staged_as), None)
    classes = experiment(dataset.experiment).classes if dataset is not None else None
    if dataset is None or classes is None:
        return None
    return Labels(f"experiment {dataset.experiment!r}", frozenset(range(classes)))


def origin(plan: Plan, store: Path) -> Path:
    """Return the staged store whose events `store` will have, as tokens or features."""
    made_from: dict[Path, Path] = {}
    for step in plan.steps:
        if isinstance(step.task, TokenizeTask):
            made_from[step.task.store] = step.task.jets
        elif isinstance(step.task, FeaturesTask):
            made_from[step.task.store] = step.task.source
    while store in made_from:
        store = made_from.pop(store)
    return store


def _stored(task: Learner, manifest: Manifest, source: str = "") -> Labels | None:
    """Return the labels of a task's split, and those of all splits; None if not recorded."""
    if any(each.labels is None for each in manifest.shards):
        return None
    of_split = (each.labels or () for each in manifest.shards if each.split == task.split)
    of_all = (each.labels or () for each in manifest.shards)
    possible, certain = frozenset().union(*of_split), frozenset().union(*of_all)
    return Labels(source or str(task.store), possible, certain)


def manifest_of(store: Path) -> Manifest | None:
    """Return the manifest of a store, None if it is not staged, or not readable.

    Whoever reads the store says what is wrong with it.
    """
    path = store / MANIFEST
    return _read(store, path.stat().st_mtime_ns) if path.exists() else None


@cache
def _read(store: Path, changed: int) -> Manifest | None:  # noqa: ARG001 - tells versions apart
    try:
        return read_manifest(store)
    except BadInput:
        return None
