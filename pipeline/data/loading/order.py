"""The order in which blocks and events are visited: a function of seed and position alone.

The blocks of an epoch are shuffled and dealt to lanes; a lane takes a few blocks at a time, a
window, and shuffles their events. Lanes make a training elastic: the task sets their number, and
each rank works on its share of them, whatever the number of ranks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Integers


@dataclass(frozen=True)
class Window:
    """The blocks that lane `lane` reads together, as number `number` of epoch `epoch`."""

    epoch: int
    lane: int
    number: int
    blocks: Integers
    events: int


@dataclass(frozen=True)
class Order:
    """The order of blocks with `events` (B) events each, for `lanes` lanes."""

    events: Integers
    lanes: int
    window_blocks: int
    seed: int
    shuffle: bool = True

    def windows(self, lane: int, epoch: int) -> list[Window]:
        """Return the windows of `lane` in `epoch`; all lanes' together hold every block once."""
        blocks, first = np.arange(len(self.events)), 0
        if self.shuffle:
            rng = np.random.default_rng((self.seed, epoch))
            # The first lane changes, or few blocks would always leave the last lanes without any.
            blocks, first = rng.permutation(blocks), int(rng.integers(self.lanes))
        mine = blocks[(lane - first) % self.lanes :: self.lanes]
        cuts = range(0, len(mine), self.window_blocks)
        parts = [mine[start : start + self.window_blocks] for start in cuts]
        return [
            Window(epoch, lane, number, part, int(self.events[part].sum()))
            for number, part in enumerate(parts)
        ]

    def after(self, lane: int, taken: int, epochs: int | None) -> Iterator[tuple[Window, int]]:
        """Yield the windows of `lane` after it has `taken` events, and how many of each to skip."""
        epoch = 0
        while epochs is None or epoch < epochs:
            for window in self.windows(lane, epoch):
                if taken >= window.events:
                    taken -= window.events
                    continue
                yield window, taken
                taken = 0
            epoch += 1

    def events_of(self, window: Window) -> Integers:
        """Return the order in which the events of `window` are visited."""
        if not self.shuffle:
            return np.arange(window.events)
        key = (self.seed, window.epoch, window.lane, window.number)
        return np.random.default_rng(key).permutation(window.events)
