"""Next neighbours of every point, against all distances of an event at once."""

from itertools import pairwise

import numpy as np
import torch

from pipeline.data.events import Events
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.preparation.neighbours import later_neighbours
from pipeline.data.preparation.serialise import normal as normalised
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest

NEIGHBOURS = 30


def contest(*, events: int) -> Contest:
    """Return the contest over `events` events, k = 30 as FM4NPP takes it."""
    by_radius, normal = sorted_points(samples.events(events))
    return Contest(
        what=f"next {NEIGHBOURS} neighbours",
        amount=events,
        unit="events",
        ours=lambda: later_neighbours(normal, by_radius.offsets, NEIGHBOURS),
        others={"torch.cdist and topk, per event": lambda: dense(normal, by_radius.offsets)},
    )


def sorted_points(events: Events) -> tuple[Events, np.ndarray]:
    """Return the events by radius and their normalised eta, phi, r (P, 3)."""
    by_radius = SPHENIX.transform(events)
    by_radius = by_radius.permuted(np.lexsort((by_radius.column("r"), by_radius.event)))
    return by_radius, normalised(by_radius, SPHENIX)


def dense(normal: np.ndarray, offsets: np.ndarray) -> list[torch.Tensor]:
    """Return the places (P, k) of the nearest later points of each event, from all distances."""
    return [_dense(torch.from_numpy(normal[start:stop])) for start, stop in pairwise(offsets)]


def _dense(points: torch.Tensor) -> torch.Tensor:
    earlier = torch.ones(len(points), len(points), dtype=torch.bool).tril()
    distance = torch.cdist(points, points).masked_fill(earlier, torch.inf)
    return distance.topk(min(NEIGHBOURS, len(points)), largest=False).indices
