"""A later version has more keys: where their defaults do what was done before, nothing differs.

A file of the version before a key is that file without the key, so each key that has its default
is left out in turn, in every declaration of every task of the shipped campaigns.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter

from pipeline import catalog
from pipeline.campaign import SHELF, Task, load_campaign
from pipeline.campaign.identity import differences, files_changed
from pipeline.catalog import Declaration
from pipeline.run import Run

CAMPAIGNS = [  # but for those of files that are not there
    name for name in catalog.names(SHELF) if "$" not in catalog.find(SHELF, name).read_text()
]


def one_of_each_kind(name: str) -> list[Task]:
    """A task of a campaign for each stage, model and task that it has."""
    campaign = load_campaign(name)
    found: dict[tuple[object, ...], Task] = {}
    for task in campaign.tasks(Run(Path("/runs"), campaign.name), elsewhere=True):
        parts = (getattr(task, part, None) for part in ("model", "head", "dataset"))
        found.setdefault((task.stage, *(type(part) for part in parts)), task)
    return list(found.values())


def defaults(
    declared: BaseModel, content: dict[str, Any], way: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the way to each key of `content` that `declared` would have without it."""
    for name, field in type(declared).model_fields.items():
        if name not in content or get_origin(field.annotation) is Literal:  # it says the kind
            continue
        value = getattr(declared, name)
        if not field.is_required() and value == field.get_default(call_default_factory=True):
            yield (*way, name)
        if isinstance(value, BaseModel):
            yield from defaults(value, content[name], (*way, name))


def without(content: dict[str, Any], way: tuple[str, ...]) -> dict[str, Any]:
    """`content` as the version before that key wrote it."""
    older = copy.deepcopy(content)
    inner = older
    for name in way[:-1]:
        inner = inner[name]
    del inner[way[-1]]
    return older


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_key_with_a_default_is_added_to_every_declaration_in_turn(name: str) -> None:
    seen = set()
    for task in one_of_each_kind(name):
        adapter = TypeAdapter(type(task))
        content = adapter.dump_python(task, mode="json", exclude_none=True)
        for way in defaults(task, content):
            older = adapter.validate_python(without(content, way))
            assert differences(older, task) == (), (task.key, way)
            assert files_changed(older, task) == (), (task.key, way)
            seen.add(way)
    assert len(seen) > 10, "every campaign has declarations with defaults"


def test_every_kind_of_declaration_in_a_task_is_among_them() -> None:
    """A section of a task whose class no shipped campaign uses would be left out above."""
    found: set[type] = set()
    for name in CAMPAIGNS:
        for task in one_of_each_kind(name):
            found |= {type(part) for _, part in task if isinstance(part, Declaration)}
    assert {"Training", "Dataset", "Simulation"} <= {kind.__name__ for kind in found}
    assert len(found) > 20
