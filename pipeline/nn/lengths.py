"""How long the events of a packed batch are: known on the CPU, so that no device is waited for.

Axes: P tokens of all events of a batch, packed · B events · N events of a run · L tokens of an
event.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Lengths:
    """How long the events of a batch are; made once and shared by all layers.

    offsets (B + 1) int64: event b is tokens[offsets[b]:offsets[b + 1]].
    runs: (N, L) of each run of N neighbouring events that are equally long, L tokens each. Sort a
    batch's events by length and the runs are few.
    """

    offsets: Tensor
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, offsets: Tensor) -> "Lengths":
        """Return the lengths of events cut at `offsets` (B + 1).

        This waits for the device, once; what a batch has already is `batch.lengths`.

        Raises:
            ValueError: If the offsets do not start at 0 or an event is empty.
        """
        cuts = offsets.tolist()
        sizes = [stop - start for start, stop in pairwise(cuts)]
        if cuts[:1] != [0] or min(sizes, default=0) < 1:
            message = f"offsets {cuts} do not cut events: start at 0, and at least 1 token each."
            raise ValueError(message)
        return cls(offsets, tuple((len(list(run)), size) for size, run in groupby(sizes)))

    @classmethod
    def equal(cls, count: int, size: int, device: torch.device) -> "Lengths":
        """Return the lengths of `count` events of `size` tokens each."""
        return cls(torch.arange(count + 1, device=device) * size, ((count, size),))

    def longer(self, by: int) -> "Lengths":
        """Return the lengths of events that have each so many tokens more."""
        more = by * torch.arange(self.events + 1, device=self.offsets.device)
        return Lengths(self.offsets + more, tuple((count, size + by) for count, size in self.runs))

    def of_tokens(self, sizes: Tensor, size: Callable[[int], int]) -> "Lengths":
        """Return the lengths where each token stands for an event of its own, in its order.

        sizes (P): how long it is; `size` tells the same from the number of tokens of its event.
        """
        runs = [(count * length, size(length)) for count, length in self.runs]
        return Lengths(functional.pad(sizes.cumsum(0), (1, 0)), _joined(runs))

    def of_events(self, sizes: Tensor, size: Callable[[int], int]) -> "Lengths":
        """Return the lengths of as many events that are of other `sizes` (B), 1 at least.

        `size` gives the same of the number of tokens of an event.
        """
        runs = [(count, size(length)) for count, length in self.runs]
        return Lengths(functional.pad(sizes.cumsum(0), (1, 0)), _joined(runs))

    def to(self, device: torch.device) -> "Lengths":
        """Return the lengths on `device`, where they may still be on their way."""
        return Lengths(self.offsets.to(device, non_blocking=True), self.runs)

    @cached_property
    def events(self) -> int:
        """The number of events, B."""
        return sum(count for count, _ in self.runs)

    @cached_property
    def tokens(self) -> int:
        """The number of tokens of all events, P."""
        return sum(count * size for count, size in self.runs)

    @cached_property
    def longest(self) -> int:
        """The number of tokens of the longest event."""
        return max(size for _, size in self.runs)

    @cached_property
    def shortest(self) -> int:
        """The number of tokens of the shortest event."""
        return min(size for _, size in self.runs)

    @cached_property
    def sizes(self) -> Tensor:
        """The number of tokens of each event (B)."""
        return self.offsets.diff()

    @cached_property
    def event(self) -> Tensor:
        """The event of each token (P), counted from 0."""
        return self.spread(torch.arange(self.events, device=self.offsets.device))

    @cached_property
    def starts(self) -> Tensor:
        """The row of the first token of the event of each token (P)."""
        return self.spread(self.offsets[:-1])

    @cached_property
    def index_in_event(self) -> Tensor:
        """The place of each token in its event (P), counted from 0."""
        return torch.arange(self.tokens, device=self.offsets.device) - self.starts

    @cached_property
    def padded(self) -> Tensor:
        """Where each token (P) stands among B · L, were all events as long as the longest."""
        return self.event * self.longest + self.index_in_event

    def filled(self, values: Tensor) -> Tensor:
        """Return `values` (P, ...) as (B, L, ...) of the longest event, zeros where no token is."""
        flat = values.new_zeros((self.events * self.longest, *values.shape[1:]))
        return flat.index_copy(0, self.padded, values).unflatten(0, (self.events, self.longest))

    def spread(self, values: Tensor) -> Tensor:
        """Return the value (B, ...) of its event for each token (P, ...)."""
        if len(self.runs) == 1:
            return values.unsqueeze(1).expand(-1, self.longest, *values.shape[1:]).flatten(0, 1)
        return values.repeat_interleave(self.sizes, 0, output_size=self.tokens)


def _joined(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return runs of which no two neighbours are of events that are equally long."""
    alike = groupby(runs, lambda run: run[1])
    return tuple((sum(count for count, _ in run), size) for size, run in alike)
