"""One damaged file, staged: was it told, harmless, or did wrong numbers enter the store?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.data.store.manifest import MANIFEST
from pipeline.outcome import Exit

Damage = Callable[[bytes, np.random.Generator], bytes]
Outcome = Literal["told", "equal", "changed", "wrong"]
Stage = Callable[[Path, Path, str], tuple[int, str]]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Return `content` with one bit flipped."""
    found = bytearray(content)
    found[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a beginning of `content`."""
    return content[: int(rng.integers(1, len(content)))]


DAMAGES: dict[str, Damage] = {"bit flips": flipped, "truncations": truncated}


def outcome(stage: Stage, path: Path, store: Path, experiment: str, whole: object) -> Outcome:
    """Stage the damaged `path` by `stage` into `store`, and compare it with the shards `whole`.

    "wrong" is an end without a clear message: another exit code, a traceback, no name of the file.
    """
    code, said = stage(path, store, experiment)
    if code == Exit.FINISHED:
        return "equal" if shards_of(store) == whole else "changed"
    is_clear = code == Exit.BAD_INPUT and path.name in said and "Traceback" not in said
    return "told" if is_clear and not (store / MANIFEST).exists() else "wrong"


def shards_of(store: Path) -> object:
    """Return the checksums of all that was stored, but for ids that are made of the file's own."""
    manifest = json.loads((store / MANIFEST).read_text())
    left_out = "event_id/c/" if manifest["event_key"] == "file" else "\0"
    shards = [
        {name: digest for name, digest in shard["files"].items() if not name.startswith(left_out)}
        for shard in manifest["shards"]
    ]
    return shards, manifest["rejected"]
