"""What tells an event, in noise or not, from all others of a batch, in whichever process.

As ViniciusMikuni/OmniLearned at 922355d computes it among the events of one process. Axes:
B events at hand · G events of the batch · L points of the longest · N what stands before the
points · W width · D = (N + L) W.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.families.omnilearned.body import Seen
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collectives, gathered

SHORTEST = 1e-3  # the least length by which an event is divided


@dataclass(frozen=True)
class Compared:
    """Unit vectors (G, D) of all events as they are and in noise, those at hand with gradients.

    `here` are the rows of the events at hand, `signal` is the mean of (1 - t)² over all.
    """

    clean: Tensor
    noisy: Tensor
    here: slice
    signal: Tensor


def longest(batches: Iterable[Batch], collectives: Collectives) -> int:
    """Return the number of points of the longest event of all processes' batches; all call."""
    sizes = torch.cat([batch.sizes for batch in batches])
    return int(collectives.all_gather(sizes.max().unsqueeze(0)).max())


def rows_of(clean: Seen, noisy: Seen, time: Tensor, batch: Batch, points: int) -> Tensor:
    """Return both unit vectors of each event and (1 - t)² of its noise at `time` (B): (B, 2 D + 1).

    Events are filled up to so many `points`.
    """
    directions = [_direction(seen, batch, points) for seen in (clean, noisy)]
    return torch.cat([*directions, (1 - time).square().unsqueeze(1).float()], 1)


def compared(rows: Tensor, all_rows: Tensor, first: int) -> Compared:
    """Return what the objective reads: `all_rows` (G, 2 D + 1), from `first` on those at hand."""
    here = slice(first, first + len(rows))
    together = torch.cat([all_rows[: here.start], rows, all_rows[here.stop :]])
    clean, noisy = together[:, :-1].chunk(2, 1)
    return Compared(clean, noisy, here, all_rows[:, -1].mean())


class Others:
    """The rows of a batch that is taken forward in micro-batches, each of which finds its part."""

    def __init__(self, rows: Tensor, collectives: Collectives) -> None:
        self.all_rows, self._next = gathered(rows, collectives)

    def compared(self, rows: Tensor) -> Compared:
        """Return what the objective reads of the next micro-batch."""
        first = self._next
        self._next += len(rows)
        return compared(rows, self.all_rows, first)


def _direction(seen: Seen, batch: Batch, points: int) -> Tensor:
    """Return what the body made of events as unit vectors (B, D), padding and all.

    Without noise the place of the time is 0, as in the authors' code.
    """
    tokens = seen.tokens
    time = torch.zeros_like(tokens[:, :1]) if seen.time is None else seen.time
    known = tokens[:, :0] if seen.conditions is None else seen.conditions
    padded, _ = batch.padded(seen.points)
    padded = functional.pad(padded, (0, 0, 0, points - padded.shape[1]))
    together = torch.cat([tokens, time, known, padded], 1).flatten(1).float()
    return functional.normalize(together, eps=SHORTEST)
