"""The downstream tasks, a folder each: `spec.py` declares it, without torch.

Beside it lie `module.py` (the head, its loss and its prediction), `score.py` (the metrics) and
`display.py` (how an event is drawn). A new task is a new folder; nothing else lists it.
A task of a user's needs no folder: `task = "file.py:Name"` takes a class from anywhere.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from pipeline import catalog
from pipeline.downstream.task import DownstreamTask

# What a declaration that names no task asks for: track finding, the first that there was.
FIRST = "tracks"

TASKS = catalog.discovered(__name__, DownstreamTask, "task")


def _with_task(given: Any) -> Any:
    """Fill in the task where a declaration does not name it; "file.py:Name" is a user's own."""
    if not isinstance(given, dict):
        return given
    task = given.get("task", FIRST)
    is_file = isinstance(task, str) and ".py:" in task
    return {**given, **({"task": "custom", "code": task} if is_file else {"task": task})}


if TYPE_CHECKING:
    AnyTask = DownstreamTask
else:
    AnyTask = Annotated[
        Annotated[Union[tuple(TASKS.values())], Field(discriminator="task")],  # noqa: UP007
        BeforeValidator(_with_task),
    ]


def restored(declared: Mapping[str, Any], name: str) -> DownstreamTask:
    """Return the task that was `declared` in a run folder, as `name` where that is damaged.

    A report is drawn of whatever there is: a task whose folder or file is gone has no titles, and
    all its scores are shown under the names that are stored.
    """
    if not declared:
        return TASKS.get(name, DownstreamTask).model_construct(task=name)
    try:
        adapter: TypeAdapter[DownstreamTask] = TypeAdapter(AnyTask)
        return adapter.validate_python(dict(declared))
    except ValidationError:
        values = {"task": name, **declared}
        return TASKS.get(values["task"], DownstreamTask).model_construct(**values)


__all__ = ["FIRST", "TASKS", "AnyTask", "DownstreamTask", "restored"]
