"""What a task is: the keys that decide its product, compared by meaning.

A key that is marked `INCIDENTAL` decides nothing; a path within the run is what it is relative to
the run, and what is outside is its content (`campaign.contents`), if both declarations know it; the
files of a dataset are compared by `planning.changes`, which knows their contents.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.campaign import contents
from pipeline.campaign.tasks import StageTask, Task
from pipeline.campaign.together import taken_together
from pipeline.catalog import INCIDENTAL
from pipeline.masking import masked

NAMES = ("key", "needs", "stage", "contents")  # of a task among the others
SOURCES = "sources"


@dataclass(frozen=True)
class Difference:
    """A key that decides the product, with its value before and now; None where it has none."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        """Return the difference as a user reads it."""
        return f"{self.key} {_shown(self.before)} → {_shown(self.now)}"


def product_keys(task: Task) -> dict[str, Any]:
    """Return what decides the product of `task`, by dotted key; without the files of a dataset."""
    left_out = (*NAMES, SOURCES) if isinstance(task, StageTask) else NAMES
    keys = {
        key: value
        for key, value in _flat(task)
        if key.partition(".")[0] not in left_out and value is not None
    }
    training = getattr(task, "training", None)
    together = taken_together(task, training.devices) if training is not None else ""
    return keys | ({"taken_together": together} if together else {})


def known(task: Task, run: Path) -> Task:
    """Return `task` with the contents of what it takes from outside of the folder `run`."""
    found = contents.contents(product_keys(task), run)
    return task.model_copy(update={"contents": found}) if found else task


def still_known(before: Task, now: Task) -> Task:
    """Return `now` with the contents that `before` knew of the same paths, and that are gone."""
    old, new = product_keys(before), product_keys(now)
    gone = {
        key: digest
        for key, digest in before.contents.items()
        if key not in now.contents and old.get(key) == new.get(key)
    }
    return now.model_copy(update={"contents": {**gone, **now.contents}}) if gone else now


def differences(before: Task, now: Task) -> tuple[Difference, ...]:
    """Return the keys by which `now` makes another product than `before`, both of one run."""
    raw = product_keys(before), product_keys(now)
    known = _code_digests((before, now), raw)
    old, new = (contents.by_content(*each) for each in zip(raw, known, strict=True))
    found = {
        key: Difference(key, old.get(key), new.get(key))
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    }
    known_paths = before.contents.keys() | now.contents.keys()
    for key in (each for each in contents.OF_PATHS if each in known_paths):
        one, other = (_content_of(task, key, keys) for task, keys in ((before, old), (now, new)))
        if one and one == other:
            found.pop(key, None)
        elif one and other:
            found[key] = Difference(
                key, _shown_content(old, key, one), _shown_content(new, key, other)
            )
    return tuple(found.values())


def _code_digests(
    tasks: Sequence[Task], keys: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, str], ...]:
    """Return the digests of the own code of each of `tasks`; none unless all know all of theirs.

    An earlier version recorded none: then files of one name are taken for the same.
    """
    known = all(
        contents.code_of(each) <= task.contents.keys()
        for task, each in zip(tasks, keys, strict=True)
    )
    return tuple(task.contents if known else {} for task in tasks)


def _content_of(task: Task, key: str, keys: Mapping[str, Any]) -> str:
    """Return the digest of what a key stands for; "" where it is not known, nor there any more."""
    path = keys.get(key)
    return task.contents.get(key, "") or (contents.digest_of(key, path) if path else "")


def _shown_content(keys: Mapping[str, Any], key: str, digest: str) -> str:
    """Return how a content is shown: its path, if it has a key of its own, and its SHA-256."""
    return " ".join(filter(None, [keys.get(key, ""), f"(SHA-256 {digest[:8]}…)"]))


def files_changed(before: Task, now: Task) -> tuple[Difference, ...]:
    """Return the files of a dataset that were added and removed, by their paths; none of others."""
    if not isinstance(before, StageTask) or not isinstance(now, StageTask):
        return ()
    old = {(split, _opened(name)): (split, name) for split, name in before.files}
    new = {(split, _opened(name)): (split, name) for split, name in now.files}
    removed = sorted(old[each] for each in old.keys() - new.keys())
    added = sorted(new[each] for each in new.keys() - old.keys())
    return tuple(
        Difference(f"{SOURCES}.{split or 'all'}", *((name, None) if gone else (None, name)))
        for gone, files in ((True, removed), (False, added))
        for split, name in files
    )


def _opened(name: str) -> str:
    """Return the file that `name` stands for: an earlier version wrote the values of variables."""
    return os.path.expandvars(name) if "://" in name else name


def _flat(declared: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of `declared` and of what it holds, but for incidental ones."""
    for name, field in type(declared).model_fields.items():
        if INCIDENTAL not in field.metadata:
            yield from _of_value(f"{prefix}{name}", getattr(declared, name))
    for name in getattr(declared, "ALSO_DECIDES", ()):
        yield f"{prefix}{name}", getattr(declared, name)


def _of_value(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield `value` under its key, or what it holds under keys of their own."""
    if isinstance(value, BaseModel):
        yield from _flat(value, f"{key}.")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _of_value(f"{key}.{name}", each)
    elif isinstance(value, tuple | list):
        yield (
            key,
            tuple(dict(_flat(each)) if isinstance(each, BaseModel) else each for each in value),
        )
    else:
        yield key, str(value.absolute()) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    """Return a value as TOML has it, or nearly so."""
    if value is None:
        return "(not there)"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else masked(str(value))
