"""Small batches and stores that the tests of this room share."""

from pathlib import Path

import numpy as np
import torch

from pipeline.data.experiment import Column
from pipeline.data.store import Store
from pipeline.data.store.manifest import Manifest, write_manifest
from pipeline.data.store.shard import write_shard
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.nn.batch import Batch
from pipeline.nn.loading import batch_of

MODEL = FM4NPPMamba2(width=32, layers=2, neighbours=2)
HEAD = TrackTask(queries=8, width=16, layers=2, heads=2)
COLUMNS = (
    Column(name="energy", unit="ADC", offset=250.0, scale=270.0, provenance="made"),
    Column(name="eta", unit="1", offset=-2.0, scale=4.0, provenance="made"),
    Column(name="phi", unit="rad", offset=-3.0, scale=6.0, provenance="made"),
    Column(name="r", unit="cm", offset=30.0, scale=45.0, provenance="made"),
)


def batch(sizes, *, seed=0, tracks=4, neighbours=2):
    """Random events of the given sizes; each point one of `tracks` tracks, or noise (0)."""
    made = torch.Generator().manual_seed(seed)
    points = sum(sizes)
    return Batch(
        points=torch.rand(points, 4, generator=made),
        offsets=torch.tensor([0, *np.cumsum(sizes)]),
        event_id=torch.arange(len(sizes)),
        per_point={
            "neighbours": next_places(sizes, neighbours),
            "track": torch.randint(0, tracks + 1, (points,), generator=made),
        },
    )


def packed(sizes, *, seed=0):
    """Random points, of the given event sizes."""
    made = torch.Generator().manual_seed(seed)
    return Batch(
        points=torch.rand(sum(sizes), 4, generator=made),
        offsets=torch.tensor([0, *np.cumsum(sizes)]),
        event_id=torch.arange(len(sizes)),
    )


def next_places(sizes, count):
    """The `count` places after each point in its event, -1 past its end."""
    places = [torch.arange(n).unsqueeze(1) + torch.arange(1, count + 1) for n in sizes]
    return torch.cat([p.where(p < n, -1) for p, n in zip(places, sizes, strict=True)])


def part(whole: Batch, chosen) -> Batch:
    """The events `chosen` of a batch, packed in that order."""
    sizes = whole.sizes.tolist()

    def packed(values):
        pieces = values.split(sizes)
        return torch.cat([pieces[i] for i in chosen])

    return Batch(
        points=packed(whole.points),
        offsets=torch.tensor([0, *np.cumsum([sizes[i] for i in chosen])]),
        event_id=whole.event_id[list(chosen)],
        per_point={name: packed(each) for name, each in whole.per_point.items()},
        per_event={name: each[list(chosen)] for name, each in whole.per_event.items()},
        epoch=None if whole.epoch is None else whole.epoch[list(chosen)],
        seed=whole.seed,
    )


def write_store(
    path: Path, *, shards=(10, 14), labelled=True, neighbours=3, split="train", held_back=0
) -> Path:
    """Write a store of small random events, a shard for each number in `shards`.

    The last `held_back` shards are of split "val".
    """
    rng = np.random.default_rng(0)
    records, first = [], 0
    counts, kept = {split: 0, "val": 0}, len(shards) - held_back
    for number, events in enumerate(shards):
        here, place = (split, number) if number < kept else ("val", number - kept)
        sizes = rng.integers(3, 20, events)
        points = rng.random((sizes.sum(), 4))
        physical = points * [c.scale for c in COLUMNS] + [c.offset for c in COLUMNS]
        arrays = {
            "points": physical.astype(np.float32),
            "offsets": np.concatenate([[0], np.cumsum(sizes)]),
            "event_id": np.arange(first, first + events) + 1000,
            "neighbours": next_places(sizes.tolist(), neighbours).numpy().astype(np.int16),
        }
        if labelled:
            arrays["track_id"] = rng.integers(1, 4, sizes.sum()).astype(np.int32)
            arrays["noise"] = rng.random(sizes.sum()) < 0.2
        record = write_shard(
            path / here / f"{place:05d}",
            arrays,
            attributes={},
            chunk_points=64,
            codec="none",
            per_event=frozenset({"event_id"}),
        )
        records.append(record)
        first += events
        counts[here] += events
    of = {name: [each for each in records if each.split == name] for name in counts if counts[name]}
    manifest = Manifest(
        experiment="sphenix",
        columns=COLUMNS,
        order="none",
        neighbours=neighbours,
        min_points=1,
        max_points=3200,
        fractions={},
        files={},
        shards=tuple(records),
        sources=(),
        rejected={},
        events={name: counts[name] for name in of},
        points={name: sum(record.points for record in each) for name, each in of.items()},
    )
    write_manifest(path, manifest)
    return path


def read_batch(selection, start=0, stop=None):
    """Return the events `start` to `stop` of a selection, as one batch."""
    events, columns = selection.load(), Store.open(selection.path).manifest.columns
    part = events.slice(start, len(events) if stop is None else stop)
    return batch_of(part, columns, selection.reads)
