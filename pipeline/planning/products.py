"""What finished tasks made, what reads it, and whether it is still on the disk.

Scratch file systems purge what nobody has read for weeks, file by file, and an archive leaves out
what can be made again. The records of such a task are there, and its product is not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.campaign import (
    EvaluateTask,
    FeaturesTask,
    FetchTask,
    FinetuneTask,
    PretrainTask,
    SimulateTask,
    StageTask,
    Task,
    TokenizeTask,
)
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.data.errors import BadInput
from pipeline.data.source import is_remote
from pipeline.data.store.manifest import BINS, MANIFEST, read_manifest
from pipeline.run import TaskFolder

STORING = (StageTask, FetchTask, TokenizeTask, FeaturesTask)


def missing(task: Task, folder: TaskFolder, *, all_files: bool) -> Path | None:
    """Return a file of the product of the finished `task` that is not there, None if none is known.

    Names alone are looked at: those of all files, or of one that stands for them. A task without a
    result, which is written before it is done, has none that could be known.
    """
    if not folder.result.exists():
        return None
    there = files(task, folder) if all_files else files(task, folder)[:1]
    return next((path for path in there if not path.exists()), None)


def files(task: Task, folder: TaskFolder) -> list[Path]:
    """Return the files of the product of `task` that others read; the first stands for all.

    Those of a store are as its manifest says; the manifest alone without one.
    """
    if isinstance(task, SimulateTask):
        return [path for _, path in task.files]
    if isinstance(task, StageTask | FetchTask | FeaturesTask):
        return of_store(task.store)
    if isinstance(task, TokenizeTask):
        return [*of_store(task.store), *([folder.path / WEIGHTS] if _learns(task) else [])]
    if isinstance(task, PretrainTask) and task.branch_points:
        return [folder.checkpoints / f"step-{point:012d}" for point in task.branch_points]
    if isinstance(task, PretrainTask | FinetuneTask):
        return [folder.path / WEIGHTS]
    # Predictions are of nobody's need here: where they are gone, or were never kept, it is done.
    return [folder.result, *([folder.predictions] if folder.predictions.exists() else [])]


def _learns(task: TokenizeTask) -> bool:
    """Whether the tokenizer has weights of its own, which others may take."""
    return task.trained is None and bool(task.model.parameters().trained)


def of_store(store: Path) -> list[Path]:
    """Return the files of a store as its manifest names them, the manifest first."""
    try:
        manifest = read_manifest(store)
    except BadInput:
        return [store / MANIFEST]
    shards = [
        store / shard.split / shard.name / name for shard in manifest.shards for name in shard.files
    ]
    return [store / MANIFEST, *(store / name for name in manifest.files), *shards]


def makers(tasks: Sequence[Task]) -> dict[Path, str]:
    """Return the key of the task that makes each store."""
    return {task.store: task.key for task in tasks if isinstance(task, STORING)}


def reads(task: Task, makers: Mapping[Path, str]) -> list[str]:
    """Return the keys of the tasks whose products `task` reads.

    An evaluation reads a store, and needs only the training on it. Of the dataset that another has
    its bins from, only those are read.
    """
    of_stores = [makers[each] for each in stores_read(task) if each in makers]
    needs = list(task.needs)
    if isinstance(task, StageTask) and (task.bins_store / BINS).exists():
        needs = [key for key in needs if key != makers.get(task.bins_store)]
    return list(dict.fromkeys((*needs, *of_stores)))


def stores_read(task: Task) -> list[Path]:
    """Return the stores that `task` reads."""
    names = ("jets", "source") if isinstance(task, STORING) else ("store",)
    return [path for name in names if (path := getattr(task, name, None)) is not None]


def source_missing(task: Task) -> str:
    """Return a source file of a staging that is not on this machine, empty if all are.

    Simulated files are made again, and files at addresses are taken to be there.
    """
    if not isinstance(task, StageTask) or task.dataset.simulation:
        return ""
    names = (name for _, name in task.files if not is_remote(name))
    return next((name for name in names if not Path(name).exists()), "")


def remade_in_place(task: Task, folder: TaskFolder) -> bool:
    """Whether the program of `task` makes what is missing, and keeps what is whole.

    A training without its weights begins from its start.
    """
    if isinstance(task, TokenizeTask):
        return not _learns(task) or (folder.path / WEIGHTS).exists()
    return isinstance(task, SimulateTask | StageTask | FetchTask | FeaturesTask | EvaluateTask)
