"""Checkpoints that are whole or not there.

A checkpoint is written to `step-N.tmp`, hashed into a manifest, and renamed to `step-N`; at least
two are kept; a resume takes the newest that verifies. A folder with checkpoints of which none
verifies is an error, never a fresh start.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.run import RunError, read_json, write_json

MANIFEST = "manifest.json"


def folder(checkpoints: Path, events_seen: int) -> Path:
    """Return the folder of the checkpoint taken after `events_seen` events."""
    return checkpoints / f"step-{events_seen:012d}"


def temporary(checkpoints: Path, events_seen: int) -> Path:
    """Return the folder that a checkpoint is written to before it is whole."""
    return folder(checkpoints, events_seen).with_suffix(".tmp")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(written: Path, events_seen: int, written_by: Mapping[str, int] = {}) -> None:
    """Write the manifest of all files in the folder `written`, then give it its final name.

    `written_by` tells what the layout of the files depends on.
    """
    files = sorted(path for path in written.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(written)): file_hash(path) for path in files}
    told = {"events_seen": events_seen, "written_by": dict(written_by), "files": hashes}
    write_json(written / MANIFEST, told)
    final = folder(written.parent, events_seen)
    if final.exists():
        shutil.rmtree(final)
    written.rename(final)


def verify(sealed: Path) -> int:
    """Return how many events the checkpoint had seen.

    Raises:
        RunError: The manifest is missing or damaged, or a file is missing or was changed.
    """
    manifest = read_json(sealed / MANIFEST)
    if manifest is None:
        message = f"{sealed}: no {MANIFEST}; this is no whole checkpoint."
        raise RunError(message)
    for name, expected in manifest["files"].items():
        path = sealed / name
        if not path.is_file() or file_hash(path) != expected:
            message = f"{path}: missing or not as it was written; the checkpoint is damaged."
            raise RunError(message)
    return int(manifest["events_seen"])


def written_by(sealed: Path) -> dict[str, int]:
    """Return what the layout of the files of a checkpoint that verifies depends on."""
    manifest = read_json(sealed / MANIFEST) or {}
    return dict(manifest.get("written_by", {}))


def newest(checkpoints: Path) -> tuple[Path, int] | None:
    """Return the newest checkpoint that verifies and its events, None where there is none at all.

    Raises:
        RunError: There are checkpoints, and none of them verifies.
    """
    problems = []
    for sealed in sorted(checkpoints.glob("step-*[0-9]"), reverse=True):
        try:
            return sealed, verify(sealed)
        except RunError as error:
            problems.append(str(error))
    if problems:
        message = (
            f"{checkpoints}: no checkpoint verifies, so training does not start afresh by itself. "
            + " ".join(problems)
            + " Remove the folder to begin again."
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
            f"{sealed}: the checkpoint to begin from is not whole. {error} Remove "
            f"{checkpoints.parent}, and run again: it is trained anew."
        )
        raise RunError(message) from error


def prune(checkpoints: Path, *, keep: int, always: Sequence[int] = ()) -> None:
    """Remove all but the `keep` newest checkpoints, and what earlier links left unfinished.

    Those taken after as many events as `always` says stay.
    """
    stay = {folder(checkpoints, events_seen) for events_seen in always}
    for unfinished in checkpoints.glob("step-*.tmp"):
        shutil.rmtree(unfinished)
    for old in sorted(checkpoints.glob("step-*[0-9]"))[:-keep]:
        if old not in stay:
            shutil.rmtree(old)
