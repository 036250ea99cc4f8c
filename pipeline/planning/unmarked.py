"""Finished tasks whose product is whole, and whose marker alone is gone.

The marker DONE is an empty file that nobody reads, so a purge of scratch takes it first.
"""

import shlex

from pipeline import records
from pipeline.campaign import Task
from pipeline.outcome import RunError
from pipeline.planning import products
from pipeline.records import Ending
from pipeline.run import TaskFolder


def remark(task: Task, folder: TaskFolder) -> str:
    """Return that the marker of `task` is gone, and how to set it anew.

    Empty if the task never finished, or if its product is not whole.
    """
    try:
        result = records.read(folder.result, Ending)
    except RunError:
        return ""  # who reads it says what is wrong with it
    if result is None or not result.is_finished:
        return ""
    if products.missing(task, folder, all_files=True) is not None:
        return ""
    return (
        "its product is there, and its marker is gone, as after a purge. Keep it: "
        f"touch {shlex.quote(str(folder.done))}"
    )
