"""Checkpoints that exist completely or not at all.

A checkpoint is written to `step-N.tmp`, hashed into a manifest, and renamed to `step-N`; at least
two are kept; a resume takes the newest that verifies. If there are checkpoints and none of them
verifies, the training stops with an error; it never starts afresh.
"""

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline import claims
from pipeline.data.loading import order
from pipeline.inside import OutsideError, inside
from pipeline.outcome import RunError
from pipeline.writing import keep_synced, read_json, sync_all, sync_folder, write_json

MANIFEST = "manifest.json"
SEAL = "sha256"
ORDER = "order_of_events"
VALIDATION_LOSS = "validation_loss"


def folder(checkpoints: Path, events_seen: int) -> Path:
    """Return the folder of the checkpoint taken after `events_seen` events."""
    return checkpoints / f"step-{events_seen:012d}"


def temporary(checkpoints: Path, events_seen: int, claim: int = 0) -> Path:
    """Return the folder that the holder of `claim` writes a checkpoint to before it is complete.

    No other holder of the task's claim has the same: one that was superseded spoils nothing.
    """
    return folder(checkpoints, events_seen).with_suffix(f".{claim}.tmp")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hashes(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, in parallel: hashlib releases the interpreter lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(file_hash, paths))


def seal(
    written: Path,
    events_seen: int,
    extra: Mapping[str, object] = {},
    known: Mapping[str, str] = {},
) -> None:
    """Write the manifest of all files in the folder `written`, then give it its final name.

    `extra` holds further entries of the manifest, `known` the SHA-256 of files that who wrote them
    has synced. The others are synced and hashed here. A crash of the node after that leaves this
    checkpoint whole, one before leaves those that were there.

    Raises:
        SupersededError: Another process has taken over the training.
    """
    folders = {Path(parent): names for parent, _, names in os.walk(written)}
    files = {
        str((parent / name).relative_to(written)): parent / name
        for parent, names in folders.items()
        for name in names
    }
    others = {name: path for name, path in files.items() if name not in known}
    sync_all([*others.values()])
    found = {**known, **dict(zip(others, hashes(others.values()), strict=True))}
    content = {**extra, "events_seen": events_seen, ORDER: order.VERSION, "files": found}
    write_json(written / MANIFEST, {**content, SEAL: _seal(content)})
    for parent in folders:
        sync_folder(parent)
    claims.confirm()
    # There may be one, damaged, or written before a resume from an older checkpoint.
    keep_synced(written, folder(written.parent, events_seen))


def verify(sealed: Path) -> int:
    """Return how many events the checkpoint had seen.

    Raises:
        RunError: The manifest is missing or damaged, or a file is missing or was changed; or the
            events came in another order then.
    """
    manifest = _manifest(sealed)
    if manifest.get(ORDER, 1) != order.VERSION:
        message = (
            f"{sealed}: an earlier version wrote it, which visited the events in another order; "
            "from here on some would be seen twice and others never. Finish the training with that "
            "version."
        )
        raise RunError(message)
    paths = {_inside(sealed, name): expected for name, expected in manifest["files"].items()}
    files = [path for path in paths if path.is_file()]
    found = dict(zip(files, hashes(files), strict=True))
    for path, expected in paths.items():
        if found.get(path) != expected:
            message = f"{path}: missing or changed since it was written; the checkpoint is damaged."
            raise RunError(message)
    return int(manifest["events_seen"])


def _inside(sealed: Path, name: str) -> Path:
    """Return the path of a file that the manifest of a checkpoint names.

    Raises:
        RunError: It leads out of the checkpoint.
    """
    try:
        return inside(sealed, name)
    except OutsideError as error:
        message = f"{sealed / MANIFEST}: {error}."
        raise RunError(message) from error


def written_by(sealed: Path) -> dict[str, int]:
    """Return the settings that decided the layout of a checkpoint's files."""
    return dict(_manifest(sealed).get("written_by", {}))


def _seal(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of a manifest's content, without its own entry."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _manifest(sealed: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's manifest.

    Raises:
        RunError: It is missing or damaged.
    """
    path = sealed / MANIFEST
    content = read_json(path)
    if content is None:
        message = f"{sealed}: no {MANIFEST}; this checkpoint is not complete."
        raise RunError(message)
    if content.pop(SEAL, None) != _seal(content):
        message = f"{path}: missing or changed since it was written; the checkpoint is damaged."
        raise RunError(message)
    return content


def recorded(sealed: Path, name: str) -> float | None:
    """Return the number `name` of a checkpoint's manifest, None if it is missing or damaged."""
    try:
        value = _manifest(sealed).get(name)
    except RunError:
        return None
    return None if value is None else float(value)


def best(checkpoints: Path) -> Path | None:
    """Return the checkpoint of the lowest validation loss, None where none has a finite one."""
    losses = {
        sealed: loss
        for sealed in sorted(checkpoints.glob("step-*[0-9]"))
        if (loss := recorded(sealed, VALIDATION_LOSS)) is not None and math.isfinite(loss)
    }
    return min(losses, key=losses.__getitem__, default=None)


def newest(checkpoints: Path) -> tuple[Path, int] | None:
    """Return the newest checkpoint that verifies and its events, None if there is no checkpoint.

    A message names the newer ones that do not verify.

    Raises:
        RunError: There are checkpoints, and none of them verifies.
    """
    problems = []
    for sealed in sorted(checkpoints.glob("step-*[0-9]"), reverse=True):
        try:
            events_seen = verify(sealed)
        except RunError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            print(f"{problem} Resuming from {sealed.name}.", file=sys.stderr)
        return sealed, events_seen
    if problems:
        message = (
            f"{checkpoints}: no checkpoint verifies, and training does not start afresh by itself. "
            + " ".join(problems)
            + " Check the disk: on another node they may verify. To start again, move the folder "
            "away and keep it."
        )
        raise RunError(message)
    return None


def exactly(checkpoints: Path, events_seen: int) -> tuple[Path, int]:
    """Return the checkpoint taken after exactly `events_seen` events, and that number.

    Raises:
        RunError: It is not there, or damaged.
    """
    sealed = folder(checkpoints, events_seen)
    try:
        return sealed, verify(sealed)
    except RunError as error:
        message = (
            f"{sealed}: the checkpoint to start from is not complete. {error} Check "
            f"the disk; else move {checkpoints.parent} away, keep it, and run again: that training "
            "is then repeated."
        )
        raise RunError(message) from error


def prune(checkpoints: Path, *, keep: int, always: Sequence[int] = ()) -> None:
    """Remove all but the `keep` newest checkpoints, and unfinished ones of earlier links.

    The best one stays too, and those after the numbers of events in `always`.

    Raises:
        SupersededError: Another process has taken over the training; nothing is removed.
    """
    claims.confirm()
    stay = {best(checkpoints), *(folder(checkpoints, events_seen) for events_seen in always)}
    for unfinished in (*checkpoints.glob("step-*.tmp"), *checkpoints.glob(".step-*.tmp")):
        shutil.rmtree(unfinished)
    for old in sorted(checkpoints.glob("step-*[0-9]"))[:-keep]:
        if old not in stay:
            shutil.rmtree(old)
