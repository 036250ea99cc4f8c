"""A task as its folder holds it: `task.toml`, which moves with the run and says its own format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import tomli_w
from pydantic import TypeAdapter

from pipeline import catalog
from pipeline.campaign.identity import differences, files_changed
from pipeline.campaign.tasks import Task
from pipeline.catalog import Declaration, DeclarationError
from pipeline.masking import has_secret
from pipeline.run import TaskFolder
from pipeline.writing import write_text

FORMAT = 2
# Each takes the content of a file of that format, and returns that of the next.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda content: content,  # paths were absolute, which they still may be
}
RUN = "<run>"  # stands for the run folder, at the beginning of a path
AnyTask = TypeVar("AnyTask", bound=Declaration)
KINDS: dict[str, type[Task]] = {kind.model_fields["stage"].default: kind for kind in get_args(Task)}


def write(folder: TaskFolder, task: Task) -> None:
    """Write `task` into its folder, every key resolved, paths in the run relative to it.

    A file that has a secret in an address can be read by its owner alone.
    """
    content: dict[str, Any] = TypeAdapter(type(task)).dump_python(
        task, mode="json", exclude_none=True
    )
    run = str(_run(folder, task.key))
    text = tomli_w.dumps({"format": FORMAT, **_replaced(content, run, RUN)})
    write_text(folder.declaration, text, private=has_secret(text))


def declare(folder: TaskFolder, task: Task) -> None:
    """Write `task` into its folder, unless that holds another task.

    What decides nothing of the product may differ, and is written anew.

    Raises:
        DeclarationError: The folder holds a task of the same key with another product; the message
            names each key that differs.
    """
    if not folder.declaration.exists():
        write(folder, task)
        return
    before = read(folder, type(task))
    if before == task:
        return
    found = (*differences(before, task), *files_changed(before, task))
    if found:
        message = (
            f"{folder.declaration}: {task.key} was declared differently before: "
            f"{', '.join(map(str, found))}. Give the changed campaign (or store) another name, or "
            f"move {folder.path} away."
        )
        raise DeclarationError(message)
    write(folder, task)


def read(folder: TaskFolder, kind: type[AnyTask]) -> AnyTask:
    """Return the task in `folder`, of the stage that `kind` is.

    Raises:
        DeclarationError: There is none, it is of another stage or of a later format, or damaged.
    """
    return catalog.parse_file(folder.declaration, kind, _content(folder), resolved=True)


def read_any(folder: TaskFolder) -> Task:
    """Return the task in `folder`, whatever its stage.

    Raises:
        DeclarationError: As in `read`.
    """
    content = _content(folder)
    stage = content.get("stage")
    if stage not in KINDS:
        message = f"{folder.declaration}: stage {stage!r} is none of: {', '.join(KINDS)}."
        raise DeclarationError(message)
    return catalog.parse_file(folder.declaration, KINDS[stage], content, resolved=True)


def _content(folder: TaskFolder) -> dict[str, Any]:
    """Return the content of the file in today's format, with absolute paths."""
    path = folder.declaration
    content = catalog.table(path)
    version = content.pop("format", 1)
    if version not in (*MIGRATIONS, FORMAT):
        message = (
            f"{path}: format {version!r}; this version of Cosmotron reads formats 1 to {FORMAT}. "
            "Use the version that wrote it, or a later one."
        )
        raise DeclarationError(message)
    for number in range(version, FORMAT):
        content = MIGRATIONS[number](content)
    absolute: dict[str, Any] = _replaced(
        content, RUN, str(_run(folder, str(content.get("key", ""))).absolute())
    )
    return absolute


def _run(folder: TaskFolder, key: str) -> Path:
    """Return the path that paths of a task are relative to.

    It is the run folder of the task `key`; the folder above for a task that is in no run.
    """
    above = folder.path.parent
    inside = "/".join(folder.path.absolute().parts[-2:]) == key
    return above.parent if inside else above


def _replaced(value: Any, begin: str, instead: str) -> Any:
    """Return `value` with paths that begin with the folder `begin` beginning with `instead`."""
    if isinstance(value, dict):
        return {key: _replaced(each, begin, instead) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, begin, instead) for each in value]
    if isinstance(value, str) and (value == begin or value.startswith(f"{begin}/")):
        return instead + value.removeprefix(begin)
    return value
