"""The loader: packed batches of a split, in an order that any number of ranks agree on."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Events, concatenate
from pipeline.data.loading.blocks import Blocks, InMemory, Stored, bytes_in_memory
from pipeline.data.loading.index import Index, index_of
from pipeline.data.loading.order import Order, Passes, Window
from pipeline.data.loading.prefetch import prefetch
from pipeline.data.loading.rows import take
from pipeline.data.store import Store


@dataclass(frozen=True)
class Reading:
    """What is read and how, equal on all ranks; it decides the order of events.

    At each step every one of `lanes` gives `lane_events` events. `arrays` are names of the store's
    arrays to read with the points. `events` is the size of the subset, None for all events, and
    `subset` the seed that chooses it. With `epochs` None there is no end. Up to `memory_bytes` of
    decoded events are kept in memory, and all of them shuffled; of more, `window_blocks` blocks are
    shuffled together.
    """

    lane_events: int
    lanes: int = 1
    arrays: tuple[str, ...] = ()
    events: int | None = None
    subset: int = 0
    seed: int = 0
    shuffle: bool = True
    epochs: int | None = None
    window_blocks: int = 8
    memory_bytes: int = 1 << 30


class Loader:
    """The batches of one rank: iterate over it; `step` counts the batches given so far.

    Each batch concatenates those of the rank's lanes, with the epoch of each event. Over all ranks
    every taken event is given once per epoch; the last batch of each lane in the last epoch may be
    smaller. Events in memory come pass after pass; the lanes of others go through theirs at their
    own pace.
    """

    def __init__(
        self, store: Store, split: str, reading: Reading, *, rank: int = 0, ranks: int = 1
    ) -> None:
        """Open `split` of `store` as `rank` of `ranks`.

        Raises:
            BadInput: The split is missing, or there are more ranks than lanes, or more lanes than
                blocks of unshuffled events.
        """
        if ranks > reading.lanes:
            message = (
                f"{store.path}: {ranks} processes for {reading.lanes} lanes, so that some would "
                f"read nothing. Use at most {reading.lanes}."
            )
            raise BadInput(message)
        self.reading = reading
        self.index: Index = index_of(
            store, split, events=reading.events, lanes=reading.lanes, subset=reading.subset
        )
        self.order = Order(
            self.index.events, reading.lanes, reading.window_blocks, reading.seed, reading.shuffle
        )
        if not reading.shuffle and len(self.index) < reading.lanes:
            message = (
                f"{store.path}: unshuffled, split {split!r} gives {len(self.index)} blocks of "
                f"events for {reading.lanes} lanes, so that some would get none. Use fewer."
            )
            raise BadInput(message)
        fits = bytes_in_memory(self.index, reading.arrays) <= reading.memory_bytes
        self.blocks: Blocks = (InMemory if fits else Stored)(self.index, reading.arrays)
        self.lanes = range(rank, reading.lanes, ranks)
        self.passes: Passes | None = None
        if reading.shuffle and isinstance(self.blocks, InMemory):
            self.passes = Passes(len(self), reading.lanes * reading.lane_events, reading.seed)
        self.step = 0

    def __len__(self) -> int:
        """The number of events taken, of all ranks together."""
        return int(self.index.events.sum())

    def seek(self, step: int) -> None:
        """Continue after `step` steps."""
        self.step = step

    def __iter__(self) -> Iterator[Events]:
        """Yield the batches after `step`; a thread prepares the next ones."""
        if self.passes is not None and isinstance(self.blocks, InMemory):
            batches = self._permuted(self.passes, self.blocks, self.step)
        else:
            batches = self._batches(self.step * self.reading.lane_events)
        for batch in prefetch(batches):
            self.step += 1
            yield batch

    def _permuted(self, passes: Passes, memory: InMemory, step: int) -> Iterator[Events]:
        """Yield the batches after `step` of events in memory: of each, the parts of the lanes."""
        count, epochs = self.reading.lane_events, self.reading.epochs
        end = np.inf if epochs is None else epochs * passes.events
        parts = np.array(self.lanes)[:, None] * count + np.arange(count)
        while True:
            positions = step * passes.batch + parts.flatten()
            positions = positions[positions < end]
            if not len(positions):
                return
            event, epoch = passes.at(positions)
            events = take(memory.events, memory.by_id[event])
            yield replace(events, epoch=epoch, verified=True)
            step += 1

    def _batches(self, taken: int) -> Iterator[Events]:
        """Yield the batches after each lane has given `taken` events."""
        with ThreadPoolExecutor(1, thread_name_prefix="windows") as pool:
            lanes = [self._lane(pool, lane, taken) for lane in self.lanes]
            while True:
                parts = [part for lane in lanes if (part := next(lane, None)) is not None]
                if not parts:
                    return
                yield concatenate(parts)

    def _lane(self, pool: Executor, lane: int, taken: int) -> Iterator[Events]:
        """Yield the batches of `lane` after it has given `taken` events."""
        left: list[Events] = []
        for events in self._windows(pool, lane, taken):
            start, count = 0, sum(map(len, left)) + len(events)
            while (stop := start + self.reading.lane_events) <= count:
                yield _cut(left, events, start, stop)
                start = stop
            left = [_cut(left, events, start, count)] if start < count else []
        yield from left

    def _windows(self, pool: Executor, lane: int, taken: int) -> Iterator[Events]:
        """Yield the events of each window, while the next one is read."""
        pending: Future[Events] | None = None
        for window, skipped in self.order.after(lane, taken, self.reading.epochs):
            submitted = pool.submit(self._window, window, skipped)
            if pending is not None:
                yield pending.result()
            pending = submitted
        if pending is not None:
            yield pending.result()

    def _window(self, window: Window, skipped: int) -> Events:
        """Return the events of `window` in the order of visits, without the first `skipped`."""
        events = self.blocks.read(window.blocks, self.order.events_of(window)[skipped:])
        return replace(events, epoch=np.full(len(events), window.epoch), verified=True)


def _cut(left: list[Events], events: Events, start: int, stop: int) -> Events:
    """Return events `start` to `stop` of those `left` (at most one part) and `events`."""
    before = sum(len(each) for each in left)
    here = events.slice(max(start - before, 0), max(stop - before, 0))
    rest = [each.slice(start, min(stop, before)) for each in left if start < before]
    return concatenate([*rest, here])
