"""The loader: packed batches of a split, in an order that any number of ranks agree on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Integers, offsets_of
from pipeline.data.loading.blocks import Blocks, Held, Stored, held_bytes
from pipeline.data.loading.index import Index, index_of
from pipeline.data.loading.order import Order, Window
from pipeline.data.loading.packed import Packed
from pipeline.data.loading.packed import joined as packed_together
from pipeline.data.loading.prefetch import ahead
from pipeline.data.store import Store


@dataclass(frozen=True)
class Reading:
    """What is read and how, equal on all ranks; it decides the order of events.

    `arrays` are names of the store's. Each step every one of `lanes` gives `lane_events` events,
    or as many whole events as fit into `lane_points` points, at least one. `events` is the size of
    the subset, of all events if None; subsets of a `subset_seed` nest. `window_blocks` blocks are
    shuffled together. `epochs` None goes on for ever. Up to `hold_bytes` are kept in memory.
    """

    arrays: tuple[str, ...] = ("points",)
    lanes: int = 1
    lane_events: int | None = None
    lane_points: int | None = None
    events: int | None = None
    subset_seed: int = 0
    seed: int = 0
    shuffle: bool = True
    epochs: int | None = None
    window_blocks: int = 8
    hold_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        """Refuse what does not say how much a lane gives."""
        if (self.lane_events is None) == (self.lane_points is None):
            message = "give either lane_events or lane_points"
            raise ValueError(message)


@dataclass(frozen=True)
class State:
    """Where a loader is: after `step` steps, each lane has given `taken[lane]` events."""

    step: int = 0
    taken: dict[int, int] = field(default_factory=dict)


def joined(states: Iterable[State]) -> State:
    """Return the states of all ranks as one, from which any number of ranks can go on.

    Raises:
        ValueError: The ranks stand at different steps.
    """
    several = list(states)
    steps = {state.step for state in several}
    if len(steps) != 1:
        message = f"states of different steps: {sorted(steps)}"
        raise ValueError(message)
    taken = {lane: count for state in several for lane, count in state.taken.items()}
    return State(steps.pop(), taken)


class Loader:
    """The batches of one rank: iterate over it; `state` is where the batches given so far end.

    Each batch joins those of the rank's lanes. Over all ranks every taken event is given once an
    epoch, each lane's last batch of the last epoch may be smaller.
    """

    def __init__(
        self, store: Store, split: str, reading: Reading, *, rank: int = 0, ranks: int = 1
    ) -> None:
        """Open `split` of `store` as `rank` of `ranks`.

        Raises:
            BadInput: The split or an array is not there, or there are more ranks than lanes.
        """
        if ranks > reading.lanes:
            message = (
                f"{store.path}: {ranks} processes for {reading.lanes} lanes, so that some would "
                f"read nothing. Use at most {reading.lanes}."
            )
            raise BadInput(message)
        _check_arrays(store, split, reading.arrays)
        self.reading = reading
        self.index: Index = index_of(
            store,
            split,
            events=reading.events,
            lanes=reading.lanes,
            seed=reading.subset_seed,
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
        fits = held_bytes(self.index, reading.arrays) <= reading.hold_bytes
        self.blocks: Blocks = (Held if fits else Stored)(self.index, reading.arrays)
        self.lanes = range(rank, reading.lanes, ranks)
        self.state = State(0, dict.fromkeys(self.lanes, 0))

    def __len__(self) -> int:
        """The number of events taken, of all ranks together."""
        return int(self.index.events.sum())

    def resume(self, state: State) -> None:
        """Go on after `state`, the joined one of all ranks."""
        self.state = State(state.step, {lane: state.taken[lane] for lane in self.lanes})

    def seek(self, step: int) -> None:
        """Go on after `step` steps, where every lane gives `lane_events` events a step."""
        taken = step * (self.reading.lane_events or 0)
        self.resume(State(step, dict.fromkeys(self.lanes, taken)))

    def __iter__(self) -> Iterator[Packed]:
        """Yield the batches from `state` on; the next ones are prepared in the background."""
        for batch, state in ahead(self._batches(self.state)):
            self.state = state
            yield batch

    def _batches(self, state: State) -> Iterator[tuple[Packed, State]]:
        """Yield each batch and the state after it."""
        with ThreadPoolExecutor(1, thread_name_prefix="windows") as pool:
            streams = {lane: self._lane(pool, lane, state.taken[lane]) for lane in self.lanes}
            yield from self._steps(streams, state)

    def _steps(
        self, streams: dict[int, Iterator[Packed]], state: State
    ) -> Iterator[tuple[Packed, State]]:
        taken, step = dict(state.taken), state.step
        while True:
            parts = {lane: next(stream, None) for lane, stream in streams.items()}
            there = {lane: part for lane, part in parts.items() if part is not None}
            if not there:
                return
            for lane, part in there.items():
                taken[lane] += len(part)
            step += 1
            yield packed_together(list(there.values())), State(step, dict(taken))

    def _lane(self, pool: Executor, lane: int, taken: int) -> Iterator[Packed]:
        """Yield the batches of `lane` after it has given `taken` events."""
        left: list[Packed] = []
        for packed in self._windows(pool, lane, taken):
            offsets = offsets_of(np.concatenate([each.sizes for each in (*left, packed)]))
            start = 0
            while (stop := self._end(offsets, start)) is not None:
                yield _cut(left, packed, start, stop)
                start = stop
            rest = _cut(left, packed, start, len(offsets) - 1)
            left = [rest] if len(rest) else []
        yield from left

    def _windows(self, pool: Executor, lane: int, taken: int) -> Iterator[Packed]:
        """Yield the events of each window; the next one is read meanwhile."""
        pending: Future[Packed] | None = None
        for window, skipped in self.order.after(lane, taken, self.reading.epochs):
            coming = pool.submit(self._window, window, skipped)
            if pending is not None:
                yield pending.result()
            pending = coming
        if pending is not None:
            yield pending.result()

    def _window(self, window: Window, skipped: int) -> Packed:
        """Return the events of `window` as they are visited, less the first `skipped`."""
        return self.blocks.read(window.blocks, self.order.events_of(window)[skipped:])

    def _end(self, offsets: Integers, start: int) -> int | None:
        """Return where the batch that begins at event `start` ends, None if only more can tell."""
        count = len(offsets) - 1
        if self.reading.lane_events is not None:
            stop = start + self.reading.lane_events
            return stop if stop <= count else None
        limit = offsets[start] + (self.reading.lane_points or 0)
        stop = int(np.searchsorted(offsets, limit, side="right")) - 1
        if start >= count or stop >= count:
            return None
        return max(stop, start + 1)


def _cut(left: list[Packed], packed: Packed, start: int, stop: int) -> Packed:
    """Return events `start` to `stop` of those `left` (at most one) and those of `packed`."""
    before = sum(len(each) for each in left)
    here = packed.slice(max(start - before, 0), max(stop - before, 0))
    there = [each.slice(start, min(stop, before)) for each in left if start < before]
    return packed_together([*there, here])


def _check_arrays(store: Store, split: str, names: tuple[str, ...]) -> None:
    """Refuse arrays that a shard of `split` does not have.

    Raises:
        BadInput: One is missing.
    """
    for shard in store.shards(split):
        missing = [name for name in names if name not in shard.record.arrays]
        if missing:
            known = ", ".join(shard.record.arrays)
            message = f"{shard.path}: no array {missing[0]!r}; this shard has {known}."
            raise BadInput(message)
