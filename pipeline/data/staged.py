"""What is known of staged source files: their contents, their shards, and that none comes twice."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline import records
from pipeline.campaign import StageTask
from pipeline.data.checksums import remembered, sha256
from pipeline.data.companions import found_beside
from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.experiment import Experiment
from pipeline.data.identity import OF_FILE, base_of, meeting, widest
from pipeline.data.known_hashes import check_known, read_known
from pipeline.data.source import beside, is_remote
from pipeline.data.store.manifest import ShardRecord, SourceRecord
from pipeline.data.store.opened import Shard
from pipeline.masking import masked
from pipeline.records import Part, Record


class StagedPart(Record):
    """The shards of one staging part of a source file; `made_from` stands for what decides them.

    `keys` are the least and the largest of the numbers that the experiment gives its events.
    """

    made_from: str
    shards: tuple[ShardRecord, ...]
    rejected: dict[str, int]
    keys: tuple[int, int] | None = None


class StagedFile(Part):
    """The shards of one source file; `sources` are the file and its companions.

    `seen` has size in bytes and time in ns of each, empty where the file is not on this machine.
    `version` is that of the preparation: a record of another is of other shards.
    """

    version: int = 0
    shards: tuple[ShardRecord, ...]
    sources: tuple[SourceRecord, ...]
    rejected: dict[str, int]
    seen: tuple[tuple[int, int], ...]

    @property
    def file(self) -> SourceRecord:
        """The file itself, the first of its sources."""
        return self.sources[0]


class Content(Record):
    """`parts/content-<SHA-256>.json`: which source file has that content."""

    number: int


def seen(name: str, kind: Experiment) -> tuple[tuple[int, int], ...]:
    """Return size and time of a file and its companions, nothing if it is not here."""
    if is_remote(name) or not Path(name).exists():
        return ()
    states = [path.stat() for path in (Path(name), *found_beside(Path(name), kind.companions))]
    return tuple((state.st_size, state.st_mtime_ns) for state in states)


def sources_of_file(
    kind: Experiment, name: str, path: Path, *, split: str, entries: int, notes: Path
) -> list[SourceRecord]:
    """Return the records of the source file `name`, here at `path`, and of its companions.

    What belongs to many files is hashed once; `notes` is the folder that keeps its hash.
    """
    names = {path: name}
    for companion in found_beside(path, kind.companions):
        relative = os.path.relpath(companion, path.absolute().parent)
        names[companion] = beside(name, relative) if is_remote(name) else str(companion)
    return [
        SourceRecord(
            path=masked(names[each]),
            bytes=each.stat().st_size,
            sha256=sha256(each) if each == path else remembered(each.resolve(), notes),
            entries=entries if each == path else 0,
            split=split if each == path else "",
        )
        for each in names
    ]


def verified(sources: Sequence[SourceRecord], checksum: str, listed: str) -> list[SourceRecord]:
    """Return the records of a file and its companions with what verified each.

    `listed` is a list of known SHA-256, empty for none; `checksum` is what the file's format has.

    Raises:
        BadInput: The list cannot be read, lacks a file, or has another hash of it.
    """
    if not listed:
        file, *companions = sources
        return [file.model_copy(update={"verified_by": checksum}), *companions]
    known = read_known(Path(listed))
    for each in sources:
        check_known(known, Path(listed), each.path, each.sha256)
    by = {"verified_by": f"SHA-256 in {Path(listed).name}"}
    return [each.model_copy(update=by) for each in sources]


def with_keys(
    sources: Sequence[SourceRecord], ranges: Sequence[tuple[int, int] | None]
) -> tuple[SourceRecord, ...]:
    """Return the records of a file and its companions, with the range of its events' numbers."""
    file, *companions = sources
    return (file.model_copy(update={"keys": widest(ranges)}), *companions)


def claim_content(notes: Path, task: StageTask, number: int, content: str) -> None:
    """Check that no other file of `task` has the SHA-256 `content` of file `number`.

    The first that comes leaves a note in the folder `notes`, so that a double is refused before it
    is staged, whichever process stages it.

    Raises:
        BadInput: Another file has it; the message names both.
    """
    note = notes / f"content-{content}.json"
    if records.create(note, Content(number=number)):
        return
    first = records.read(note, Content)
    if first is None or first.number == number:
        return
    other = task.files[first.number][1]
    if is_remote(other) or (Path(other).exists() and sha256(Path(other)) == content):
        raise BadInput(_double(task.store, other, task.files[number][1], content))
    records.write(note, Content(number=number))  # that file has changed since


def check_contents(store: Path, files: Sequence[StagedFile]) -> None:
    """Check that no two source files of `store` have the same content.

    Raises:
        BadInput: Two have; the message names both.
    """
    first: dict[str, str] = {}
    for each in files:
        name = first.setdefault(each.file.sha256, each.file.path)
        if name != each.file.path:
            raise BadInput(_double(store, name, each.file.path, each.file.sha256))


def _double(store: Path, one: str, other: str, content: str) -> str:
    return (
        f"{store}: {one} and {other} have the same content (SHA-256 {content[:12]}…): their events "
        "would be staged twice. List one of them, in one split."
    )


def check_ids(store: Path, key: str, files: Sequence[StagedFile]) -> None:
    """Check that no id stands for two events.

    Raises:
        BadInput: One does: by a rare chance, or because the experiment's numbers do not
            distinguish its events.
    """
    if key != OF_FILE:
        for together in _near(files):
            _check_numbers(store, key, together)
        return
    known = [each.file for each in files]
    met = meeting([base_of(each.sha256) for each in known], [each.entries for each in known])
    if met is not None:
        one, other = (known[file].path for file in met)
        message = (
            f"{store}: the event ids of {one} and {other} meet, by a chance of about 1e-6. Stage "
            "one of them into a store of its own."
        )
        raise BadInput(message)


def _near(files: Sequence[StagedFile]) -> Iterator[list[StagedFile]]:
    """Yield files together whose events have numbers in ranges that meet."""
    numbered = sorted(
        ((each.file.keys, number) for number, each in enumerate(files) if each.file.keys)
    )
    together: list[StagedFile] = []
    end = 0
    for (low, high), number in numbered:
        if together and low > end:
            yield together
            together = []
        end = max(end, high) if together else high
        together.append(files[number])
    if together:
        yield together


def _check_numbers(store: Path, key: str, files: Sequence[StagedFile]) -> None:
    """Check that no two events of `files` have the same id.

    Raises:
        BadInput: Two have.
    """
    ids = [
        np.concatenate([_event_ids(store, shard) for shard in each.shards] or [np.zeros(0, int)])
        for each in files
    ]
    whole = np.concatenate(ids)
    several, counts = np.unique(whole, return_counts=True)
    if len(several) < len(whole):
        twice = several[counts > 1]
        holding = (each for each, mine in zip(files, ids, strict=True) if twice[0] in mine)
        one, *others = (each.file.path for each in holding)
        where = f"in {one} and {others[0]}" if others else f"more than once in {one}"
        message = (
            f"{store}: {len(twice)} events are {where} by their {key}, which event_key says is a "
            f'number of one event. Leave a copy out; or write event_key = "{OF_FILE}" if the '
            "events differ."
        )
        raise BadInput(message)


def _event_ids(store: Path, shard: ShardRecord) -> Array:
    return Shard(store / shard.split / shard.name, shard).read(("event_id",))["event_id"]
