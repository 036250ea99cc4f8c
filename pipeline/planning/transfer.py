"""What of a run another machine needs for its part of the campaign, and the copy's verification.

Of each finished task of the part, and of those it needs, the records go over; its store or weights
too, if a task of the part that is to be done reads them, or if the task was named. A marker DONE
comes last, so that nothing looks finished at the destination that is not there yet.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import NonNegativeInt

from pipeline import records
from pipeline.campaign import Task
from pipeline.campaign.contents import outside
from pipeline.campaign.identity import product_keys
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.store.manifest import read_manifest
from pipeline.inside import Inside
from pipeline.leftovers import HIDDEN
from pipeline.outcome import RunError
from pipeline.planning import products
from pipeline.planning.selection import Part
from pipeline.records import Record
from pipeline.run import Run, TaskFolder
from pipeline.writing import write_text

FOLDER = "transfer"
FOLDERS = ("parts", "links")  # of a task, whose files go over with it


class Sent(Record):
    """One file that goes over: its path below the run folder, its size and SHA-256."""

    path: Inside
    bytes: NonNegativeInt
    sha256: str


class TransferManifest(Record):
    """`transfer/<digest>.json`: what was sent of a run, by which the copy is verified."""

    format: int = 1
    campaign: str
    origin: str
    files: tuple[Sent, ...]


@dataclass(frozen=True)
class Parcel:
    """What goes over: `files` in order, those of `done` last; and what does not.

    `begun` are tasks that have begun here, which the other machine would begin anew; `elsewhere`
    are stores, weights and own code outside the run folder that tasks to be done read.
    """

    files: tuple[Sent, ...]
    done: tuple[str, ...]
    begun: tuple[str, ...]
    elsewhere: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(each.bytes for each in self.files)


def parcel(part: Part, named: Collection[str], run: Run) -> Parcel:
    """Return what the part needs at another machine; of tasks `named` their products in any case.

    Raises:
        RunError: Nothing of the part is finished, or a product that is to go over is not there.
    """
    finished = [task for task in part.tasks if _is_finished(task, part, run)]
    if not finished:
        message = f"{run.path}: nothing of this part is finished here, so there is nothing to send."
        raise RunError(message)
    paths = _paths(finished, {*_read(part), *named}, run)
    known = _known_hashes(finished)
    elsewhere = {path for task in part.to_do for path in outside(product_keys(task), run.path)}
    return Parcel(
        files=tuple(_sent(path, run, known) for path in paths),
        done=tuple(f"{task.key}/{run.task(task.key).done.name}" for task in finished),
        begun=tuple(key for key, each in part.changes.items() if each.meaning == "goes on"),
        elsewhere=tuple(sorted(elsewhere)),
    )


def _read(part: Part) -> Iterator[str]:
    """Yield the keys of the tasks whose products a task of the part that is to be done reads."""
    makers = products.makers(part.every_task)
    for task in part.to_do:
        yield from products.reads(task, makers)


def _paths(finished: Sequence[Task], wanted: Collection[str], run: Run) -> list[Path]:
    """Return the records of the tasks `finished`, and the products of those `wanted`, each once."""
    paths: dict[Path, None] = {}
    for task in finished:
        folder = run.task(task.key)
        paths |= dict.fromkeys(_records(folder))
        paths |= dict.fromkeys(_product(task, folder, whole=task.key in wanted))
    return list(paths)


def _is_finished(task: Task, part: Part, run: Run) -> bool:
    """Whether the product of `task` is that of the campaign as it is now."""
    is_current = part.changes[task.key].meaning in ("the same", "missing")
    return is_current and run.task(task.key).is_done


def _records(folder: TaskFolder) -> Iterator[Path]:
    """Yield the records of a finished task, all but its marker, its weights and predictions."""
    folders = [folder.path, *(folder.path / name for name in FOLDERS)]
    paths = (path for each in folders if each.is_dir() for path in sorted(each.iterdir()))
    for path in paths:
        products = (folder.done, folder.path / WEIGHTS, folder.predictions)
        left_out = path in products or HIDDEN.fullmatch(path.name)
        if path.is_file() and not left_out:
            yield path


def _product(task: Task, folder: TaskFolder, *, whole: bool) -> Iterator[Path]:
    """Yield the files of a product; if it is not wanted whole, what describes a store."""
    stored = task.store if isinstance(task, products.STORING) else None
    for path in products.files(task, folder):
        if whole or path.parent == stored:
            yield from _whole(path, needed=whole)


def _whole(path: Path, *, needed: bool) -> Iterator[Path]:
    """Yield a file, or those in a folder.

    Raises:
        RunError: It is needed, and not there.
    """
    if path.is_dir():
        yield from (each for each in sorted(path.rglob("*")) if each.is_file())
    elif path.exists():
        yield path
    elif needed:
        message = f"{path}: not there any more, so it cannot be sent. See: cosmotron plan"
        raise RunError(message)


def _known_hashes(tasks: Sequence[Task]) -> dict[Path, str]:
    """Return the SHA-256 of the files of stores, as their manifests have them."""
    known: dict[Path, str] = {}
    for task in tasks:
        if isinstance(task, products.STORING):
            try:
                manifest = read_manifest(task.store)
            except BadInput:
                continue
            known |= {task.store / name: each for name, each in manifest.files.items()}
            for shard in manifest.shards:
                folder = task.store / shard.split / shard.name
                known |= {folder / name: each for name, each in shard.files.items()}
    return known


def _sent(path: Path, run: Run, known: dict[Path, str]) -> Sent:
    name, size = path.relative_to(run.path).as_posix(), path.stat().st_size
    return Sent(path=name, bytes=size, sha256=known.get(path) or sha256(path))


def write(found: Parcel, run: Run) -> tuple[Path, Path]:
    """Write the manifest and the lists of files; return the lists, that of the markers second."""
    folder, origin = run.path / FOLDER, str(run.path.absolute())
    manifest = TransferManifest(campaign=run.campaign, origin=origin, files=found.files)
    digest = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()[:12]
    records.write(folder / f"{digest}.json", manifest)
    names = [*(each.path for each in found.files), f"{FOLDER}/{digest}.json"]
    lists = folder / "files.txt", folder / "done.txt"
    for path, content in zip(lists, (names, found.done), strict=True):
        write_text(path, "".join(f"{name}\n" for name in content))
    return lists


@dataclass(frozen=True)
class Checked:
    """What of a copy agrees with what was sent, and what does not: in words, a line each."""

    files: int
    bytes: int
    wrong: tuple[str, ...]


def check(folder: Path) -> Checked:
    """Return how the copy in the run folder `folder` compares with what was sent.

    Raises:
        RunError: Nothing was sent there, or its manifest is damaged.
    """
    manifests = [
        records.read(path, TransferManifest) for path in sorted((folder / FOLDER).glob("*.json"))
    ]
    sent = {each: None for one in manifests if one is not None for each in one.files}
    if not sent:
        message = (
            f"{folder}: no manifest in {FOLDER}/: nothing was sent here, or not all of it. Send it "
            "from the other machine: cosmotron transfer RUN DEST"
        )
        raise RunError(message)
    wrong = tuple(line for each in sent if (line := _wrong(folder, each)))
    return Checked(len(sent), sum(each.bytes for each in sent), wrong)


def _wrong(folder: Path, sent: Sent) -> str:
    """Return what is wrong with a file, empty for nothing."""
    path = folder / sent.path
    if not path.is_file():
        return f"{sent.path}: missing"
    if path.stat().st_size != sent.bytes:
        return f"{sent.path}: {path.stat().st_size:,} bytes in place of {sent.bytes:,}"
    return (
        "" if sha256(path) == sent.sha256 else f"{sent.path}: not what was sent (SHA-256 differs)"
    )
