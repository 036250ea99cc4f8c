"""The downstream tasks, a folder each: `spec.py` declares it, without torch.

Beside it lie `module.py` (the head, its loss and its prediction), `score.py` (the metrics) and
`display.py` (how an event is drawn). A new task is a new folder; nothing else lists it.
"""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from pipeline import catalog
from pipeline.downstream.task import Head as AnyHead

# What a declaration that names no task asks for: track finding, the first that there was.
FIRST = "tracks"

HEADS = catalog.discovered(__name__, AnyHead, "task")


def _with_task(given: Any) -> Any:
    """Fill in the task where a declaration does not say it."""
    return {"task": FIRST, **given} if isinstance(given, dict) else given


if TYPE_CHECKING:
    Head = AnyHead
else:
    Head = Annotated[
        Annotated[Union[tuple(HEADS.values())], Field(discriminator="task")],  # noqa: UP007
        BeforeValidator(_with_task),
    ]

__all__ = ["FIRST", "HEADS", "AnyHead", "Head"]
