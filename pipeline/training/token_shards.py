"""A store of tokens: a shard for each shard of jets, written one by one, then the manifest.

Points are the three features in physical units, beside `token`, what else is known of what a
constituent is, and what is known of each jet.
Order "file" says that no detector's axes made it: constituents stand by falling pT. Axes: E jets,
P constituents, C codes.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import records
from pipeline.campaign import TokenizeTask
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.jet_inputs import ARRAYS
from pipeline.data.normalisation import physical
from pipeline.data.preparation.constituents import COLUMNS, constituents, needed
from pipeline.data.store import MANIFEST, Manifest, Shard, ShardRecord, Store
from pipeline.data.store.manifest import SCHEMA, SourceRecord
from pipeline.data.store.shard import write_shard
from pipeline.data.store.tokens import TOKENIZER, WEIGHTS
from pipeline.data.training_data import RECORD
from pipeline.evaluation.codebooks import perplexity, usage
from pipeline.families.omnijet.spec import TOKEN
from pipeline.families.tokenizer import FEATURES, MOST_CONSTITUENTS
from pipeline.nn.tokenizers import Codec, coded, token_type
from pipeline.records import Record, TokenQuality
from pipeline.run import TaskFolder

EXPERIMENT = "jet-tokens"
OWN = frozenset({"points", "offsets", "event_id", TOKEN})


class TokenisedShard(Record):
    """One shard of tokens; `made_from` stands for what decides its content.

    `cut` counts by reason what was left out; `squares` are the summed squared errors (3).
    """

    made_from: str
    shard: ShardRecord
    cut: dict[str, int]
    squares: list[float]


@dataclass(frozen=True)
class Made:
    """What the record of a written shard says, and how often each code was used (C)."""

    shard: ShardRecord
    cut: dict[str, int]
    squares: list[float]
    used: NDArray[np.int64]


@dataclass(frozen=True)
class Shards:
    """The shards of one tokenising; `digest` stands for the tokenizer's weights."""

    folder: TaskFolder
    task: TokenizeTask
    jets: Store
    codec: Codec
    digest: str
    device: torch.device

    def __len__(self) -> int:
        """The number of shards."""
        return len(self.sources)

    @property
    def sources(self) -> list[Shard]:
        """The shards of jets of all splits."""
        return [shard for split in self.jets.splits for shard in self.jets.shards(split)]

    def record(self, number: int) -> Path:
        """Return the file that says that shard `number` is written."""
        return self.folder.parts / f"{number:05d}.json"

    def made_from(self, number: int) -> str:
        """Return what decides the content of shard `number`, as one hash."""
        parts = [
            self.digest,
            self.task.model.model_dump(mode="json"),
            self.sources[number].record.files,
            [self.task.chunk_points, self.task.codec],
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def is_recorded(self, number: int) -> bool:
        """Return whether shard `number` was written, of this tokenizer and these jets."""
        record = records.read(self.record(number), TokenisedShard)
        return record is not None and record.made_from == self.made_from(number)

    def is_written(self, number: int) -> bool:
        """Return whether shard `number` was written so, and is whole."""
        record = records.read(self.record(number), TokenisedShard)
        if record is None or record.made_from != self.made_from(number):
            return False
        shard = record.shard
        return unchanged(self.task.store / shard.split / shard.name, shard.files)

    def write(self, number: int) -> None:
        """Write shard `number`, then its record."""
        source = self.sources[number]
        folder = self.task.store / source.record.split / source.record.name
        for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a process that was killed
            shutil.rmtree(leftover)
        arrays, cut, squares = self._tokenised(source)
        shard = write_shard(
            folder,
            arrays,
            per_event=frozenset(arrays) - {"points", "offsets", TOKEN, *ARRAYS},
            attributes={"schema": SCHEMA, "experiment": EXPERIMENT},
            chunk_points=self.task.chunk_points,
            codec=self.task.codec,
        )
        record = TokenisedShard(
            made_from=self.made_from(number), shard=shard, cut=cut, squares=squares
        )
        records.write(self.record(number), record)

    def made(self) -> Iterator[Made]:
        """Yield what is known of each written shard, in the order of the jets.

        Raises:
            BadInput: One is not written.
        """
        for number in range(len(self)):
            record = records.read(self.record(number), TokenisedShard)
            if record is None:
                message = f"{self.record(number)}: not written; run this task again."
                raise BadInput(message)
            shard = record.shard
            opened = Shard(self.task.store / shard.split / shard.name, shard)
            tokens = opened.read((TOKEN,))[TOKEN]
            used = np.bincount(tokens, minlength=self.task.model.codes)
            yield Made(shard, record.cut, record.squares, used)

    def _tokenised(self, source: Shard) -> tuple[dict[str, Array], dict[str, int], list[float]]:
        """Return the arrays of a shard, what was cut, and the summed squared errors (3)."""
        there = source.record.arrays
        kept = [name for name, each in there.items() if each.per == "event" and name not in OWN]
        identity = [name for name in ARRAYS if name in there]
        stored = source.read(("points", "offsets", "event_id", *identity, *kept))
        columns = [column.name for column in self.jets.manifest.columns]
        chosen = [columns.index(name) for name in needed(columns)]
        left = constituents(stored["points"][:, chosen], stored["offsets"])
        codes, decoded = self._coded(left.points, left.offsets)
        error = physical(decoded, COLUMNS) - left.points
        arrays: dict[str, Array] = {
            "points": left.points,
            "offsets": left.offsets,
            "event_id": stored["event_id"][left.kept],
            TOKEN: codes.astype(token_type(self.task.model.codes)),
            **{name: stored[name][left.rows] for name in identity},
            **{name: stored[name][left.kept] for name in kept},
        }
        return arrays, left.cut, np.square(error, dtype=np.float64).sum(0).tolist()

    @torch.no_grad()
    def _coded(self, points: Array, offsets: Array) -> tuple[Array, Array]:
        """Return the code (P) of each constituent, and the features (P, 3) it stands for."""
        codes, decoded = [np.empty(0, np.int64)], [np.empty((0, len(FEATURES)), np.float32)]
        for code, within in coded(self.codec, points, offsets, self.device):
            codes.append(code.cpu().numpy())
            decoded.append(self.codec.decode(code, within).float().cpu().numpy())
        return np.concatenate(codes), np.concatenate(decoded)


def manifest(shards: Shards, made: list[Made]) -> Manifest:
    """Return the manifest of the store of tokens; `rejected` counts what was cut."""
    jets, store = shards.jets, shards.task.store
    written = [each.shard for each in made]
    of = {split: [each for each in written if each.split == split] for split in jets.splits}
    path = jets.path / MANIFEST
    return Manifest(
        experiment=EXPERIMENT,
        columns=COLUMNS,
        order="file",
        neighbours=0,
        min_points=1,
        max_points=MOST_CONSTITUENTS,
        fractions=jets.manifest.fractions,
        event_key=jets.manifest.event_key,
        numbered_by=jets.manifest.numbered_by,
        files={name: sha256(store / name) for name in (TOKENIZER, WEIGHTS, RECORD)},
        sources=jets.manifest.sources,
        made_from=SourceRecord(
            path=str(path),
            bytes=path.stat().st_size,
            sha256=sha256(path),
            entries=sum(jets.manifest.events.values()),
        ),
        rejected=total_cut(made),
        events={split: sum(each.events for each in some) for split, some in of.items()},
        points={split: sum(each.points for each in some) for split, some in of.items()},
        shards=tuple(written),
    )


def total_cut(made: list[Made]) -> dict[str, int]:
    """Return how many constituents and jets were cut for each reason, of all splits."""
    names = made[0].cut if made else {}
    return {name: sum(each.cut[name] for each in made) for name in names}


def quality(made: list[Made], split: str) -> TokenQuality:
    """Return usage, perplexity and reconstruction of the jets of one split.

    `reconstruction` is the root mean square of decoded less true: of ln(pT / GeV), Δη and Δφ.
    """
    mine = [each for each in made if each.shard.split == split]
    used = np.sum([each.used for each in mine], axis=0)
    points = max(1, sum(each.shard.points for each in mine))
    squares = np.sum([each.squares for each in mine], axis=0)
    return TokenQuality(
        usage=usage(used),
        perplexity=perplexity(used),
        reconstruction=dict(zip(FEATURES, np.sqrt(squares / points).tolist(), strict=True)),
    )
