"""The order in which events are visited: a function of seed and position alone.

Where all events fit into memory, each epoch is a permutation of them (`Passes`), of which lanes
take their part of each batch. Where they do not (`Order`), the blocks of an epoch are shuffled and
dealt to lanes; a lane takes a few blocks at a time, a window, and shuffles their events. Lanes make
a training elastic: the task sets their number, and each rank works on its share of them, whatever
the number of ranks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.data.events import Integers

VERSION = 2  # of the orders here; a training does not go on in another one


@dataclass(frozen=True)
class Passes:
    """The order of `events` events (E), pass after pass, in batches of `batch` (B) events.

    A batch is a random sample of all events, and no event is in it twice: one that ends in the
    middle of a batch has those after it begin with others. Only where a batch is larger than all
    events together does it hold some again, each at most ⌈B / E⌉ + 1 times.
    """

    events: int
    batch: int
    seed: int

    def at(self, positions: Integers) -> tuple[Integers, Integers]:
        """Return which event is visited at each of the `positions` (N), and in which epoch."""
        epoch, place = positions // self.events, positions % self.events
        event = np.empty_like(positions)
        for number in np.unique(epoch):
            here = epoch == number
            event[here] = self.epoch(int(number))[place[here]]
        return event, epoch

    def epoch(self, number: int) -> Integers:
        """Return the events (E) in the order of a pass."""
        return _order(self, number)

    def begun(self, number: int) -> int:
        """Return how many events the batch has before those of a pass."""
        return number * self.events % self.batch


@lru_cache(maxsize=4)
def _order(passes: Passes, number: int) -> Integers:
    """Return the events in the order of a pass, those of the batch begun before not first.

    Where passes are shorter than two batches, that may change the end of a pass too, so they follow
    from the last one that begins with a batch.
    """
    begun = passes.begun(number)
    if passes.events < passes.batch or not begun:
        return _drawn(passes, number)
    if passes.events >= 2 * passes.batch:
        return _without(_drawn(passes, number), _drawn(passes, number - 1)[-begun:], passes, begun)
    first = number
    while passes.begun(first):
        first -= 1
    order = _drawn(passes, first)
    for each in range(first + 1, number + 1):
        begun = passes.begun(each)
        order = _without(_drawn(passes, each), order[-begun:], passes, begun)
    return order


def _without(order: Integers, last: Integers, passes: Passes, begun: int) -> Integers:
    """Return `order` with events that are not among the `last` ones first, to the batch's end."""
    was_last = np.zeros(passes.events, np.bool_)
    was_last[last] = True
    first = np.flatnonzero(~was_last[order])[: passes.batch - begun]
    return np.concatenate([order[first], np.delete(order, first)])


def _drawn(passes: Passes, number: int) -> Integers:
    return np.random.default_rng((passes.seed, number)).permutation(passes.events)


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
