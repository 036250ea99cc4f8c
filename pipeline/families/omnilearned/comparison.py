"""What tells an event, in noise or not, from all others of a batch, in whichever process they are.

As ViniciusMikuni/OmniLearned at 922355d computes it among the events of one process. Axes:
B events of this process · G events of all · L points of the longest · N what stands before the
points · W width.
"""

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
    """Cosines (B, G) of events as they are with all in noise, and of events in noise with all.

    `itself` (B) is the column of the same event; `signal` the mean of (1 - t)² over all.
    """

    of_clean: Tensor
    of_noisy: Tensor
    itself: Tensor
    signal: Tensor


def compared(
    clean: Seen, noisy: Seen, time: Tensor, batch: Batch, collectives: Collectives, counts: bool
) -> Compared:
    """Return how near what the body made of events is to what it made of all; all must call.

    `time` (B) is that of the noise. Where the events do not `counts`, none is compared with them.
    """
    longest = int(collectives.all_gather(_longest(batch)).max())
    directions = [_direction(seen, batch, longest) for seen in (clean, noisy)]
    rows = torch.cat([*directions, (1 - time).square().unsqueeze(1).float()], 1)
    every, first = gathered(rows if counts else rows[:0], collectives)
    cleans, noisies = every[:, :-1].chunk(2, 1)
    itself = torch.arange(len(rows), device=rows.device) + first
    return Compared(
        of_clean=directions[0] @ noisies.T,
        of_noisy=directions[1] @ cleans.T,
        itself=itself.clamp(max=len(every) - 1),
        signal=every[:, -1].mean().detach(),
    )


def _longest(batch: Batch) -> Tensor:
    """Return the number of points of the longest event (1)."""
    return batch.offsets.diff().max().unsqueeze(0)


def _direction(seen: Seen, batch: Batch, longest: int) -> Tensor:
    """Return what the body made of events as unit vectors (B, (N + L) W), padding and all 0.

    Without noise the place of the time is 0, as in the authors' code.
    """
    tokens = seen.tokens
    time = torch.zeros_like(tokens[:, :1]) if seen.time is None else seen.time
    known = tokens[:, :0] if seen.conditions is None else seen.conditions
    padded, _ = batch.padded(seen.points)
    padded = functional.pad(padded, (0, 0, 0, longest - padded.shape[1]))
    together = torch.cat([tokens, time, known, padded], 1).flatten(1).float()
    return functional.normalize(together, eps=SHORTEST)
