"""What a task takes from outside of its run, by content: own code, weights, stores of others.

It decides the product, wherever it lies: moved, it is the same; edited, it is another.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline import catalog
from pipeline.campaign import model_folder
from pipeline.catalog import DeclarationError
from pipeline.writing import read_json

MANIFEST = "manifest.json"  # of a store
SEALED = re.compile(r'"sha256": "([0-9a-f]{64})"\s*\}\s*\Z')
TAIL_BYTES = 200
CODE = re.compile(r"(?P<file>[^:]*\.py)(?P<name>:[A-Za-z_]\w*)?")
OBJECTIVES = ".objectives."  # what follows is the name of one, "file.py:name" of an own one
OF_STORES = ("store", "jets", "source", "bins_store")
OF_WEIGHTS = ("model.weights", "backbone", "pretrained")
OF_PATHS = (*OF_STORES, *OF_WEIGHTS)


def contents(keys: Mapping[str, Any], run: Path) -> dict[str, str]:
    """Return the SHA-256 of each store and folder of weights outside of the folder `run`, by key.

    And that of each file of own code, by its name. What is not there has none.

    Args:
        keys: Of a task, dotted, with what they hold.
        run: The run folder, whose own files are known by the tasks that make them.
    """
    found = {}
    for kind, digest in ((OF_STORES, store_sha256), (OF_WEIGHTS, weights_sha256)):
        for key in kind:
            path = keys.get(key)
            if path and not Path(path).absolute().is_relative_to(run.absolute()):
                found[key] = digest(Path(path))
    code: dict[str, list[str]] = {}
    for file in dict.fromkeys(_code_files(keys)):
        code.setdefault(Path(file).name, []).append(file_sha256(Path(file)))
    found |= {name: "+".join(sorted(digests)) for name, digests in code.items()}
    return {key: digest for key, digest in found.items() if digest}


def outside(keys: Mapping[str, Any], run: Path) -> list[Path]:
    """Return the stores, weights and files of own code that `keys` name outside of `run`."""
    paths = [*(keys[key] for key in OF_PATHS if keys.get(key)), *_code_files(keys)]
    found = dict.fromkeys(Path(path).absolute() for path in paths)
    return [path for path in found if not path.is_relative_to(run.absolute())]


def by_content(keys: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Return `keys` with each file of own code by its content, wherever it lies.

    That is its SHA-256 where `digests` has one of its name, else its name; in a key its name.
    """
    found = {}
    for key, value in keys.items():
        section, of_objectives, objective = key.partition(OBJECTIVES)
        name = f"{section}{of_objectives}{_named(objective, {})}"
        found[name] = _named(value, digests)
        if objective and CODE.fullmatch(objective):
            found[f"code of {name}"] = _named(objective, digests)
    return found


def code_of(keys: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the files of own code that `keys` speak of."""
    return frozenset(Path(file).name for file in _code_files(keys))


def custom_files(content: Any) -> frozenset[str]:
    """Return the names of the files of own code that a declaration, as plain values, speaks of."""
    if isinstance(content, Mapping):
        return custom_files([*content, *content.values()])
    if isinstance(content, list | tuple):
        return frozenset().union(*map(custom_files, content))
    match = CODE.fullmatch(content) if isinstance(content, str) else None
    return frozenset() if match is None else frozenset({Path(match["file"]).name})


def digest_of(key: str, path: str) -> str:
    """Return the digest of what is at `path`, which is of the kind that `key` has; "" for none."""
    kinds = {OF_STORES: store_sha256, OF_WEIGHTS: weights_sha256}
    return next((digest(Path(path)) for keys, digest in kinds.items() if key in keys), "")


def store_sha256(store: Path) -> str:
    """Return the SHA-256 that closes the manifest of a store, "" if it is not known.

    Who reads the store holds the manifest to it, and the shards to the manifest. Of a store of a
    run that was moved away, the result of the task that made it has the hash.
    """
    path = store / MANIFEST
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
            found = SEALED.search(stream.read().decode(errors="replace"))
    except OSError:
        return _recorded(store)
    return found[1] if found is not None else ""


def _recorded(store: Path) -> str:
    """Return the hash that the run of a store, `<run>/data/<name>.zarr`, has recorded of it."""
    results = store.parent.parent.glob(f"*/{store.stem}/result.json")
    found = (str((read_json(path) or {}).get("manifest_sha256", "")) for path in results)
    return next(filter(None, found), "")


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 that a folder of weights states of them, "" if it states none."""
    try:
        stated = catalog.table(folder / model_folder.names(folder).config).get("weights", {})
    except DeclarationError:
        return ""
    return str(stated.get("sha256", "")) if isinstance(stated, dict) else ""


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, "" if it cannot be read."""
    try:
        seen = file.stat()
        return _hashed(file, seen.st_mtime_ns, seen.st_size)
    except OSError:
        return ""


@lru_cache(maxsize=256)
def _hashed(file: Path, changed: int, size: int) -> str:  # noqa: ARG001 - tell versions apart
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _code_files(keys: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files of own code that keys and values name, by their paths."""
    for key, value in keys.items():
        for each in (key.partition(OBJECTIVES)[2], value):
            match = CODE.fullmatch(each) if isinstance(each, str) else None
            if match is not None:
                yield match["file"]


def _named(value: Any, digests: Mapping[str, str]) -> Any:
    """Return a file of own code, with what it names there, by its digest, or else its name."""
    match = CODE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    name = Path(match["file"]).name
    known = f"(SHA-256 {digests[name][:12]}…)" if name in digests else name
    return f"{known}{match['name'] or ''}"
