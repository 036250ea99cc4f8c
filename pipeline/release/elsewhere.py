"""What the declarations of a run name outside its folder: raw files, weights, Python files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import catalog
from pipeline.data.checksums import sha256
from pipeline.masking import masked
from pipeline.release.archive_manifest import Elsewhere
from pipeline.run import Run

WORDS = {
    "folder": "source files",
    "weights": "weights to start from",
    "bins_file": "voxel bins",
    "sha256": "known hashes of source files",
}


def elsewhere(run: Run) -> tuple[Elsewhere, ...]:
    """Return what the campaign of `run` names outside its folder, each once.

    Raises:
        DeclarationError: The campaign in the folder is not TOML.
    """
    found = {each.path: each for each in _named(catalog.table(run.declaration))}
    return tuple(found[path] for path in sorted(found))


def _named(content: Any) -> Iterator[Elsewhere]:
    """Yield what a table of the campaign, and those in it, name."""
    if isinstance(content, list):
        for each in content:
            yield from _named(each)
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if not isinstance(value, str):
            yield from _named(value)
        elif value and key in WORDS:
            yield _entry(value, WORDS[key])
        elif ".py:" in value:
            yield _entry(value.rpartition(":")[0], "your own Python file")


def _entry(name: str, what: str) -> Elsewhere:
    path = Path(name)
    is_file = "://" not in name and path.is_file()
    return Elsewhere(path=masked(name), what=what, sha256=sha256(path) if is_file else "")
