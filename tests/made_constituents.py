"""Small stores of jets, and of their tokens, that the tests of tokenizers share."""

from pathlib import Path

import numpy as np
import torch

from pipeline.campaign import TokenizeTask, Training, declare
from pipeline.data.events import offsets_of
from pipeline.data.experiments.jetclass import COLUMN_NAMES, COLUMNS
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.constituents import COLUMNS as FEATURE_COLUMNS
from pipeline.data.preparation.constituents import constituents
from pipeline.data.store.manifest import Manifest, write_manifest
from pipeline.data.store.shard import write_shard
from pipeline.families.vqvae.spec import VQVAE
from pipeline.nn.batch import Batch
from pipeline.run import TaskFolder

SMALL = VQVAE(codes=32, hidden_width=16, blocks=1, heads=2)


def jets(count, *, seed=0, most=30):
    """Jets of two prongs: points (P, 10) in JetClass's columns, and offsets."""
    rng = np.random.default_rng(seed)
    offsets = offsets_of(rng.integers(8, most, count))
    total = offsets[-1]
    prong = rng.random(total) < 0.5
    pt = rng.exponential(30, total) + 0.5
    deta = np.where(prong, 0.2, -0.2) + 0.05 * rng.normal(size=total)
    dphi = 0.1 * rng.normal(size=total)
    owner = np.repeat(np.arange(count), np.diff(offsets))
    phi = rng.uniform(-np.pi, np.pi, count)[owner] + dphi
    eta = rng.uniform(-1, 1, count)[owner] + deta
    points = np.zeros((total, len(COLUMN_NAMES)), np.float32)
    for name, values in {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": pt * np.cosh(eta),
        "deta": deta,
        "dphi": dphi,
    }.items():
        points[:, COLUMN_NAMES.index(name)] = values
    return points, offsets


def write_jets(path: Path, shards=(20, 20, 12), *, splits=("train", "train", "test")) -> Path:
    """A store of jets as it is staged from JetClass, a shard for each number."""
    records = []
    for number, (count, split) in enumerate(zip(shards, splits, strict=True)):
        points, offsets = jets(count, seed=number)
        records.append(
            write_shard(
                path / split / f"{number:05d}-000",
                {
                    "points": points,
                    "offsets": offsets,
                    "event_id": np.arange(count) + (number << 32),
                    "charge": np.zeros(len(points), np.int8),
                    "species": np.eye(5, dtype=np.bool_)[np.arange(len(points)) % 5],
                    "label": np.full(count, number, np.int8),
                    "jet": np.full((count, 4), 500 + number, np.float32),
                },
                attributes={},
                chunk_points=64,
                codec="none",
                per_event=frozenset({"event_id", "label", "jet"}),
            )
        )
    mine = {split: [each for each in records if each.split == split] for split in splits}
    write_manifest(
        path,
        Manifest(
            experiment="jetclass",
            columns=COLUMNS,
            order="file",
            neighbours=0,
            min_points=1,
            max_points=256,
            fractions={},
            files={},
            shards=tuple(records),
            sources=(),
            rejected={},
            events={split: sum(each.events for each in some) for split, some in mine.items()},
            points={split: sum(each.points for each in some) for split, some in mine.items()},
        ),
    )
    return path


def feature_batch(count=6, *, seed=0, codes=32):
    """Jets as a tokenizer takes them, with tokens drawn at random."""
    points, offsets = jets(count, seed=seed, most=20)
    chosen = [COLUMN_NAMES.index(name) for name in ("px", "py", "pz", "energy")]
    left = constituents(points[:, chosen], offsets)
    made = torch.Generator().manual_seed(seed)
    return Batch(
        points=torch.from_numpy(normalised(left.points, FEATURE_COLUMNS)),
        offsets=torch.from_numpy(left.offsets),
        event_id=torch.arange(count),
        per_point={"token": torch.randint(0, codes, (len(left.points),), generator=made)},
    )


def tokenizing(path: Path, jets_store: Path, *, model=SMALL, **changes) -> TaskFolder:
    """The folder of a declared tokenising: 30 steps, a checkpoint every 5."""
    asked = {
        "events_seen": 120,
        "batch_events": 4,
        "learning_rate": 2e-3,
        "checkpoint_events": 20,
        "walltime_minutes": 1,
    }
    task = TokenizeTask(
        key="tokenize/made",
        seed=3,
        model=model,
        jets=jets_store,
        split="train",
        store=path / "tokens.zarr",
        chunk_points=64,
        training=Training(**{**asked, **changes}),
    )
    declare(TaskFolder(path / "task"), task)
    return TaskFolder(path / "task")
