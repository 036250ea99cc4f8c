"""Open and read a store: prepared events in shards, described by a manifest."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.store.codec import ArrayFile
from pipeline.data.store.manifest import Manifest, ShardRecord, read_manifest
from pipeline.data.store.shard import read_arrays
from pipeline.inside import OutsideError, inside


@dataclass(frozen=True)
class Shard:
    """One shard of a store; axes: E its events, P its points."""

    path: Path
    record: ShardRecord

    def read(
        self, names: tuple[str, ...] | None = None, *, verify: bool = False
    ) -> dict[str, Array]:
        """Return the arrays `names`, or all of them; with `verify`, hash every file first.

        `points` (P, F) float32; `offsets` (E + 1) and `event_id` (E) int64; `neighbours` (P, k);
        the others as the manifest says. What is read is checked in any case: the description of
        the shard by its hash, every chunk by its CRC32C.

        Raises:
            BadInput: There is no such array, or the shard is damaged.
        """
        wanted = tuple(self.record.arrays) if names is None else names
        unknown = [name for name in wanted if name not in self.record.arrays]
        if unknown:
            known = ", ".join(self.record.arrays)
            message = f"{self.path}: no array {unknown[0]!r}; this shard has {known}."
            raise BadInput(message)
        self.verify(described=not verify)
        found: dict[str, Array] = {}
        for name in wanted:
            try:
                found |= read_arrays(self.path, (name,))
            except (OSError, KeyError, ValueError, RuntimeError) as error:
                raise BadInput(self.damage(name, error)) from error
        return found

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Return the rows `start` to `stop` of the array `name`; no other chunks are unpacked.

        Raises:
            BadInput: There is no such array, or the shard is damaged.
        """
        if name not in self.record.arrays:
            message = f"{self.path}: no array {name!r}; it has {', '.join(self.record.arrays)}."
            raise BadInput(message)
        self.verify(described=True)
        try:
            return ArrayFile.open(self.path / name).read(start, stop)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise BadInput(self.damage(name, error)) from error

    def damage(self, name: str, error: Exception) -> str:
        """Return what to say when array `name` cannot be read because of `error`."""
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"{self.path / name}: damaged ({reason}). {_AGAIN}"

    def damaged(self) -> list[str]:
        """Return a line for each file that is missing or is not what was written."""
        lines = []
        for name, wanted in self.record.files.items():
            try:
                _check(self.path, {name: wanted}, _AGAIN)
            except (BadInput, OutsideError) as error:
                lines.append(str(error))
        return lines

    def verify(self, *, described: bool = False) -> None:
        """Check the hash of every file; if only `described`, of those that describe the arrays.

        Raises:
            BadInput: A file is missing or is not what was written.
        """
        files = self.record.files
        if described:
            files = {name: each for name, each in files.items() if name.endswith("zarr.json")}
        _check(self.path, files, _AGAIN)


def _check(folder: Path, files: dict[str, str], advice: str) -> None:
    """Check that `files` below `folder` have their hashes.

    Raises:
        BadInput: One is missing or is not what was written.
        OutsideError: One is a link that leads out of the folder.
    """
    for name, wanted in files.items():
        file = inside(folder, name)
        if not file.is_file():
            message = f"{file}: missing. {advice}"
            raise BadInput(message)
        if sha256(file) != wanted:
            message = f"{file}: not what was written (SHA-256 differs). {advice}"
            raise BadInput(message)


_AGAIN = "Remove this shard and the DONE file of the stage task, then run the campaign again."


@dataclass(frozen=True)
class Store:
    """A store that exists: its manifest is there and understood."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Return the store in `path`, whose manifest and files beside the shards are whole.

        Raises:
            BadInput: There is no manifest, it or such a file is damaged, or it is not understood.
        """
        store = cls(path, read_manifest(path))
        _check(path, store.manifest.files, "Restore it, or stage the data into another store.")
        return store

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.manifest.events)

    def shards(self, split: str) -> list[Shard]:
        """Return the shards of `split`, in the order of the source files.

        Raises:
            BadInput: The store has no such split.
            OutsideError: A shard is a link that leads out of the store.
        """
        if split not in self.splits:
            message = f"{self.path}: no split {split!r}; this store has {', '.join(self.splits)}."
            raise BadInput(message)
        records = [record for record in self.manifest.shards if record.split == split]
        return [Shard(inside(self.path, f"{split}/{record.name}"), record) for record in records]

    def events(self, split: str) -> int:
        """Return the number of events of `split`."""
        return sum(shard.record.events for shard in self.shards(split))

    def points(self, split: str) -> int:
        """Return the number of points of `split`."""
        return sum(shard.record.points for shard in self.shards(split))

    def verify(self) -> None:
        """Check the hash of every file of every shard.

        Raises:
            BadInput: A file is missing or is not what was written.
        """
        for split in self.splits:
            for shard in self.shards(split):
                shard.verify()
