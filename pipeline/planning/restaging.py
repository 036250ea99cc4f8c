"""A store that is not whole yet, staged on from corrected sources or settings."""

from pipeline.campaign import StageTask, stored
from pipeline.data.store.manifest import BINS, MANIFEST
from pipeline.data.store.tables import TABLES
from pipeline.run import TaskFolder


def is_partial(task: StageTask, folder: TaskFolder) -> bool:
    """Return whether the store of `task` is one that was begun, and that nobody can have read."""
    return not folder.is_done and not (task.store / MANIFEST).exists()


def correct(task: StageTask, folder: TaskFolder) -> None:
    """Declare `task` in the folder of a partial store; the caller holds the claim.

    What says that a file is staged goes, and so do bins and tables, which come from the first file.
    The shards stay, and the notes of what each was made from: one that fits is not made again, and
    the others are removed when the store is finished.
    """
    for path in (*folder.finished_parts, *folder.parts.glob("content-*.json")):
        path.unlink(missing_ok=True)
    for name in (BINS, TABLES):
        (task.store / name).unlink(missing_ok=True)
    stored.write(folder, task)
