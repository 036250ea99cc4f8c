"""Patches of an event: farthest points as centres, the nearest points of each, in Morton order.

Axes: P points, packed · B events · L points of the largest event · G patches of all events, packed
· S patches of an event at most · K points of a patch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths

BITS = 10  # of a coordinate in the Morton code: cells of a thousandth of [0, 1]
FAR = 1e9


@dataclass(frozen=True)
class Patches:
    """Patches of the events of a batch.

    centres (G, 3); points (G, K, 3), relative to the centre, the nearest first; rows (G, K), which
    points of the batch they are; `lengths`, the patches of each event, which are in the Morton
    order of their centres.
    """

    centres: Tensor
    points: Tensor
    rows: Tensor
    lengths: Lengths


@torch.no_grad()
def patches_of(batch: Batch, size: int, most: int) -> Patches:
    """Return the patches of `size` points of each event, which has at least so many.

    A patch for every half of `size` points, at most `most`: as PointGPT's 64 patches of 32 points
    cover 1024 points twice (arXiv:2305.11487, §4.1).
    """
    places, real = batch.padded(batch.points[:, :3])
    lengths = patched(batch.lengths, size, most)
    chosen = farthest(places, real, lengths.longest)
    centres = places.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 3))
    distance = torch.cdist(centres, places).masked_fill(~real.unsqueeze(1), FAR)
    nearest = distance.topk(size, dim=-1, largest=False).indices
    used = torch.arange(chosen.shape[1], device=real.device) < lengths.sizes.unsqueeze(1)
    code = morton(centres).masked_fill(~used, torch.iinfo(torch.int64).max)
    order = code.argsort(dim=1, stable=True)
    ordered = order[lengths.event, lengths.index_in_event]
    centres = centres[lengths.event, ordered]
    rows = nearest[lengths.event, ordered] + batch.offsets[lengths.event].unsqueeze(1)
    return Patches(centres, batch.points[:, :3][rows] - centres.unsqueeze(1), rows, lengths)


def patched(lengths: Lengths, size: int, most: int) -> Lengths:
    """Return how many patches of `size` points each event has, `most` at most."""
    counts = (-(-2 * lengths.sizes // size)).clamp(1, most)
    return lengths.of_events(counts, lambda length: min(max(-(-2 * length // size), 1), most))


def farthest(places: Tensor, real: Tensor, count: int) -> Tensor:
    """Return which points (B, S) are the farthest from those before them; the first is point 0.

    places (B, L, 3); real (B, L), which are points. An event with fewer points repeats some.
    """
    chosen = torch.zeros(len(places), count, dtype=torch.long, device=places.device)
    nearest = torch.full(real.shape, FAR, dtype=places.dtype, device=places.device)
    nearest = nearest.masked_fill(~real, -1)
    events = torch.arange(len(places), device=places.device)
    for step in range(1, count):
        last = places[events, chosen[:, step - 1]].unsqueeze(1)
        distance = (places - last).square().sum(-1)
        nearest = torch.minimum(nearest, distance.masked_fill(~real, -1))
        chosen[:, step] = nearest.argmax(1)
    return chosen


def morton(places: Tensor) -> Tensor:
    """Return the Morton code of places (..., 3) in [0, 1]: the bits of the coordinates in turns."""
    cells = (places.clamp(0, 1) * (2**BITS - 1)).long()
    code = torch.zeros_like(cells[..., 0])
    for bit in range(BITS):
        for axis in range(3):
            code |= ((cells[..., axis] >> bit) & 1) << (3 * bit + axis)
    return code
