"""Jets as models that classify and generate read them, in a batch and in a store."""

import numpy as np
import torch
from made_constituents import jets

from pipeline.data.experiments.jetclass import COLUMN_NAMES
from pipeline.data.jet_inputs import columns_of
from pipeline.families.epic.spec import EPiC
from pipeline.families.jet_columns import IMPACT
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn.batch import Batch

SMALL = {"width": 16, "layers": 2, "head_layers": 1, "heads": 2, "nearest": 4}


def learned(**changes) -> OmniLearned:
    """A small OmniLearned of two classes, with all it can be shown."""
    known = {"kinds": 9, "additional": IMPACT} if changes.get("mode") != "generator" else {}
    known |= {"point_classes": 3} if changes.get("mode") == "ftag" else {}
    return OmniLearned(**{**SMALL, "classes": 2, **known, **changes})


def epic(**changes) -> EPiC:
    """A small EPiC-FM."""
    return EPiC(**{"width": 16, "global_width": 4, "layers": 2, **changes})


def jet_batch(model, count=6, *, seed=0) -> Batch:
    """Jets with what `model` reads of them; every second is of class 1, and of wider angles."""
    points, offsets = jets(count, seed=seed, most=20)
    made = np.random.default_rng(seed)
    there = dict(zip(COLUMN_NAMES, points.T, strict=True))
    event = np.repeat(np.arange(count), np.diff(offsets))
    for name in ("deta", "dphi"):
        there[name] = (there[name] * (1 + event % 2)).astype(np.float32)
    for name in ("d0val", "d0err", "dzval", "dzerr"):
        there[name] = made.random(len(points), np.float32)
    there["charge"] = made.integers(-1, 2, len(points))
    there["species"] = np.eye(5, dtype=bool)[made.integers(0, 5, len(points))]
    label, species = torch.arange(count) % 2, torch.from_numpy(there["species"]).int().argmax(1)
    return Batch(
        points=torch.from_numpy(columns_of(model.reads().columns, there, offsets)),
        offsets=torch.from_numpy(offsets),
        event_id=torch.arange(count),
        per_point=dict.fromkeys(model.reads().per_point, species.clamp(max=3) - 1),
        per_event=dict.fromkeys(model.reads().per_event, label),
    )


def permuted(batch: Batch, order: torch.Tensor) -> Batch:
    """The batch with its points in another `order` (P), each in its event."""
    return Batch(
        batch.points[order],
        batch.offsets,
        batch.event_id,
        {name: each[order] for name, each in batch.per_point.items()},
        batch.per_event,
    )


def order_within(batch: Batch, *, seed=0) -> torch.Tensor:
    """An order of the points (P) that is another in each event, and leaves events in place."""
    lot = torch.rand(len(batch.points), generator=torch.Generator().manual_seed(seed))
    return torch.argsort(batch.event + lot * 0.999)
