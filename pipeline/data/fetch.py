"""Copy a store from an address: `python -m pipeline.data.fetch TASK_FOLDER`.

Each file is held to the manifest, which is written last. A copy goes on at the first missing shard.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pipeline import claims, records
from pipeline.campaign import FetchTask
from pipeline.campaign.contents import store_sha256
from pipeline.campaign.sources import below
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.errors import BadInput
from pipeline.data.program import run_whole
from pipeline.data.source import fetch_to, fetched
from pipeline.data.store.manifest import MANIFEST, SCHEMA, Manifest, ShardRecord, read_manifest
from pipeline.inside import inside
from pipeline.leftovers import hidden
from pipeline.masking import masked
from pipeline.records import Staged, TaskProgress
from pipeline.run import TaskFolder
from pipeline.writing import keep_synced, make_folder, sync_all, write_text

AT_ONCE = 8  # shards


def manifest_at(address: str, folder: Path) -> tuple[Manifest, str]:
    """Return the manifest of the store at `address`, and its text; it passes through `folder`.

    Raises:
        BadInput: There is none, it is damaged or of another version, or the server does not answer.
    """
    with fetched(below(address, MANIFEST), (), folder) as path:
        try:
            return read_manifest(path.parent), path.read_text()
        except BadInput as error:
            message = (
                f"{masked(address)}: its {MANIFEST} is damaged, or of another version than "
                f"{SCHEMA}, which this one reads. Put the store there again, or stage it anew."
            )
            raise BadInput(message) from error


def fetch(folder: TaskFolder, task: FetchTask) -> None:
    """Copy the store of `task`, write its manifest, and mark the task done.

    Raises:
        BadInput: A file is not there, or not what the manifest says.
    """
    manifest, text = manifest_at(task.address, folder.path / "fetch-manifest")
    make_folder(task.store)
    claims.confirm()
    for name, wanted in manifest.files.items():
        _copy(task, name, wanted, inside(task.store, name))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        total, copied = len(manifest.shards), pool.map(partial(_shard, task), manifest.shards)
        for done, _ in enumerate(copied, 1):
            progress = TaskProgress(done=done, total=total, unit="shards")
            records.write(folder.progress, progress, durable=False)
    claims.confirm()
    write_text(task.store / MANIFEST, text)
    folder.finish(
        Staged(
            events=manifest.events,
            points=manifest.points,
            rejected=manifest.rejected,
            shards=len(manifest.shards),
            manifest_sha256=store_sha256(task.store),
        )
    )


def _shard(task: FetchTask, shard: ShardRecord) -> None:
    """Copy one shard, unless it is there and whole."""
    folder = inside(task.store, f"{shard.split}/{shard.name}")
    if unchanged(folder, shard.files):
        return
    make_folder(folder.parent)
    temporary = hidden(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for name, wanted in shard.files.items():
            _copy(task, f"{shard.split}/{shard.name}/{name}", wanted, inside(temporary, name))
        sync_all([temporary])
        claims.confirm()
        keep_synced(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(task: FetchTask, name: str, wanted: str, path: Path) -> None:
    """Copy the file `name` of the store to `path`, held to its SHA-256.

    Raises:
        BadInput: It is not there, or another.
    """
    address = below(task.address, name)
    fetch_to(address, path)
    if sha256(path) != wanted:
        path.unlink()
        message = (
            f"{masked(address)}: not what the manifest of the store says (SHA-256 differs). Put "
            "the store there again, and check it there: cosmotron data verify STORE"
        )
        raise BadInput(message)


if __name__ == "__main__":
    raise SystemExit(run_whole("fetch", FetchTask, fetch))
