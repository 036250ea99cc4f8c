"""Batches of jets in whatever columns a model of jets reads, with classes that differ."""

import numpy as np
import torch

from pipeline.data.events import offsets_of
from pipeline.data.jet_inputs import columns_of
from pipeline.nn.batch import Batch

SIZES = (12, 5, 20, 5, 5, 31, 1, 2, 9, 17, 8, 14)


def jet_batch(model, sizes=SIZES, *, classes=2, seed=0):
    """Jets of `sizes` of two prongs, the farther apart the higher the class, in turn 0, 1, …"""
    rng = np.random.default_rng(seed)
    offsets, label = offsets_of(np.array(sizes)), np.arange(len(sizes)) % classes
    total, of_jet = int(offsets[-1]), np.repeat(np.arange(len(sizes)), sizes)
    apart = (0.05 + 0.3 * label[of_jet]) * rng.choice([-1, 1], total)
    pt = rng.exponential(30, total) + 0.5
    deta, dphi = apart + 0.03 * rng.normal(size=total), 0.1 * rng.normal(size=total)
    kind = rng.integers(0, 5, total)
    stored = {
        "pt": pt,
        "deta": deta,
        "dphi": dphi,
        "charge": np.where(kind == 0, 1, 0),
        "species": np.eye(5)[kind],
        **{name: 0.1 * rng.random(total) for name in ("d0val", "d0err", "dzval", "dzerr")},
    }
    return Batch(
        points=torch.from_numpy(columns_of(model.reads().columns, stored, offsets)),
        offsets=torch.from_numpy(offsets),
        event_id=torch.arange(len(sizes)),
        per_event={"label": torch.from_numpy(label)},
    )


def shuffled(whole, *, seed=0):
    """The same events with their points in another order, and which row went where (P)."""
    made = torch.Generator().manual_seed(seed)
    rows = torch.cat(
        [
            start + torch.randperm(size, generator=made)
            for start, size in zip(whole.offsets.tolist(), whole.sizes.tolist(), strict=False)
        ]
    )
    return Batch(whole.points[rows], whole.offsets, whole.event_id, {}, whole.per_event), rows
