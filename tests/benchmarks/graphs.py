"""Graphs of near points: k-d trees against all distances of a batch of padded events at once.

Memory is what a call needs beside what was there before it, at most: VmHWM of Linux, set back.
"""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.preparation.serialise import normal as normalised
from pipeline.nn.graphs import by_distances, nearest
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest, Line, weighed

NEIGHBOURS, DIMENSIONS = 10, 24  # EggNet's, and those of its space
TRACKS, SPREAD = 16, 0.05  # in such a space, when it is learnt: points of a track are together
DENSE, ROWS = "torch.cdist and topk, padded", "some rows of distances at a time"
Way = Callable[[Tensor, Tensor], object]


def contests(*, events: int) -> Iterator[Contest | Line]:
    """Yield a contest in space and one in a learnt space, and the memory of all ways."""
    made = SPHENIX.transform(samples.events(events))
    offsets = torch.from_numpy(made.offsets)
    points = torch.from_numpy(normalised(made, SPHENIX)).float()
    ways: dict[str, Way] = {DENSE: dense, ROWS: by_rows}
    for where, here in (("in space", points), ("in a learnt space", learnt(len(points)))):
        yield Contest(
            what=f"{NEIGHBOURS} nearest {where}",
            amount=events,
            unit="events",
            ours=lambda x=here: ours(x, offsets),
            others={name: lambda x=here, way=way: way(x, offsets) for name, way in ways.items()},
        )
    needed = memory(lambda: ours(points, offsets))
    for name, way in ways.items():
        others = memory(lambda way=way: way(points, offsets))
        yield weighed(f"{NEIGHBOURS} nearest, memory", needed, name, others)


def learnt(points: int) -> Tensor:
    """Return points (P, D) where EggNet might put them: near others of their track."""
    made = torch.Generator().manual_seed(1)
    middles = torch.randn(TRACKS, DIMENSIONS, generator=made)
    track = torch.randint(0, TRACKS, (points,), generator=made)
    return middles[track] + SPREAD * torch.randn(points, DIMENSIONS, generator=made)


def ours(points: Tensor, offsets: Tensor) -> Tensor:
    """Return the edges (2, E) as we find them."""
    return nearest(points, offsets, NEIGHBOURS)


def by_rows(points: Tensor, offsets: Tensor) -> list[Tensor]:
    """Return the edges of each event as we find them on an accelerator."""
    return [by_distances(each, NEIGHBOURS) for each in points.split(offsets.diff().tolist())]


def dense(points: Tensor, offsets: Tensor) -> Tensor:
    """Return the places (B, L, k) of the nearest, from all distances of the padded events."""
    events = points.split(offsets.diff().tolist())
    padded = torch.nn.utils.rnn.pad_sequence(events, batch_first=True, padding_value=1e3)
    near = torch.cdist(padded, padded).topk(NEIGHBOURS + 1, largest=False).indices
    return near[..., 1:]


def memory(work: Callable[[], object]) -> int:
    """Return the bytes that `work` needs at most, beside those held already."""
    ctypes.CDLL(None).malloc_trim(0)  # what others have freed is not held
    Path("/proc/self/clear_refs").write_text("5")
    before = _held("VmRSS")
    kept = work()
    most = _held("VmHWM")
    del kept
    return max(0, most - before)


def _held(name: str) -> int:
    """Return an entry of /proc/self/status, which is in kB, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(found)
