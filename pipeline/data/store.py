"""Open and read a store: prepared events in shards, described by a manifest."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.manifest import Manifest, ShardRecord
from pipeline.data.shard import read_arrays
from pipeline.run import write_text

MANIFEST = "manifest.json"
BINS = "bins.json"


@dataclass(frozen=True)
class Shard:
    """One shard of a store; axes: E its events, P its points."""

    path: Path
    record: ShardRecord

    def read(
        self, names: tuple[str, ...] | None = None, *, verify: bool = False
    ) -> dict[str, Array]:
        """Return the arrays `names`, or all of them, and check the files' hashes if `verify`.

        `points` (P, 4) float32 energy, eta, phi, r; `offsets` (E + 1) and `event_id` (E) int64;
        `neighbours` (P, k); labels (P).

        Raises:
            BadInput: There is no such array, or the shard is damaged.
        """
        wanted = tuple(self.record.arrays) if names is None else names
        unknown = [name for name in wanted if name not in self.record.arrays]
        if unknown:
            known = ", ".join(self.record.arrays)
            message = f"{self.path}: no array {unknown[0]!r}; this shard has {known}."
            raise BadInput(message)
        if verify:
            self.verify()
        try:
            return read_arrays(self.path, wanted)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            message = f"{self.path}: damaged ({error}). {_AGAIN}"
            raise BadInput(message) from error

    def verify(self) -> None:
        """Check the hash of every file.

        Raises:
            BadInput: A file is missing or is not what was written.
        """
        for name, wanted in self.record.files.items():
            file = self.path / name
            if not file.is_file():
                message = f"{file}: missing. {_AGAIN}"
                raise BadInput(message)
            if sha256(file) != wanted:
                message = f"{file}: not what was written (SHA-256 differs). {_AGAIN}"
                raise BadInput(message)


_AGAIN = "Remove this shard and the DONE file of the stage task, then run the campaign again."


@dataclass(frozen=True)
class Store:
    """A store that exists: its manifest is there and understood."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Return the store in `path`.

        Raises:
            BadInput: There is no manifest, or one that this version does not understand.
        """
        try:
            text = (path / MANIFEST).read_text()
        except OSError as error:
            message = (
                f"{path}: no store here ({error.strerror}: {MANIFEST}). It exists once its stage "
                "task is finished; run that first."
            )
            raise BadInput(message) from error
        try:
            return cls(path, Manifest.model_validate_json(text))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "JSON"
            message = (
                f"{path / MANIFEST}: {key}: {first['msg']}. "
                "This is no manifest of cosmotron-events version 1; stage the data again."
            )
            raise BadInput(message) from error

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.manifest.events)

    def shards(self, split: str) -> list[Shard]:
        """Return the shards of `split`, in the order of the source files.

        Raises:
            BadInput: The store has no such split.
        """
        if split not in self.splits:
            message = f"{self.path}: no split {split!r}; this store has {', '.join(self.splits)}."
            raise BadInput(message)
        records = [record for record in self.manifest.shards if record.split == split]
        return [Shard(self.path / split / record.name, record) for record in records]

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


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` into the store `path`, whole or not at all: from then on it exists."""
    write_text(path / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
