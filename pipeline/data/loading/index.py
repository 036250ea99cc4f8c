"""Which events of a split are taken, cut into blocks of neighbours that are read together.

Axes: B blocks, E events.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.errors import BadInput
from pipeline.data.events import Integers
from pipeline.data.splits import Keys, keys
from pipeline.data.store import Shard, Store

BLOCK_POINTS = 1 << 19
BLOCKS_PER_LANE = 8


@dataclass(frozen=True)
class Index:
    """Blocks (B) of consecutive events of the shards, each of about the same number of points.

    Block b is the events `start` to `stop` of shard `shard`, of which `events` are taken: those
    whose key is at most `highest`.
    """

    shards: tuple[Shard, ...]
    shard: Integers
    start: Integers
    stop: Integers
    events: Integers
    highest: np.uint64
    seed: int

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def takes_all(self) -> bool:
        """Whether every event of the split is taken."""
        return bool(self.highest == np.uint64(2**64 - 1))

    def chosen(self, event_id: Integers) -> npt.NDArray[np.bool_]:
        """Return which events (E) are taken."""
        if self.takes_all:
            return np.ones(len(event_id), np.bool_)
        return keys(event_id, self.seed) <= self.highest


def index_of(
    store: Store, split: str, *, events: int | None = None, lanes: int = 1, seed: int = 0
) -> Index:
    """Return the index of `events` events of a split of `store`, or of all of them.

    The events taken are those of the lowest keys, so that of two numbers the smaller subset lies
    in the larger, whatever the files and their order; `seed` draws another family of subsets.

    Raises:
        BadInput: The split is not there or holds too few events, or a shard is damaged.
    """
    shards = store.shards(split)
    held = store.events(split)
    if events is not None and not 0 < events <= held:
        message = f"{store.path}: {events} events asked of split {split!r}, which holds {held}."
        raise BadInput(message)
    highest = np.uint64(2**64 - 1)
    if events is not None and events < held:
        highest = _lowest(shards, events, seed)
    share = store.points(split) * (events or held) / max(held, 1)
    block_points = max(1, min(BLOCK_POINTS, int(share / (lanes * BLOCKS_PER_LANE))))
    tables = [_blocks(shard, highest, seed, block_points) for shard in shards]
    counts = [table.shape[1] for table in tables]
    start, stop, taken = np.concatenate(tables, axis=1)
    return Index(
        shards=tuple(shards),
        shard=np.repeat(np.arange(len(shards)), counts),
        start=start,
        stop=stop,
        events=taken,
        highest=highest,
        seed=seed,
    )


def _lowest(shards: list[Shard], events: int, seed: int) -> np.uint64:
    """Return the highest of the `events` lowest keys of all events."""
    every: Keys = np.concatenate(
        [keys(shard.read(("event_id",))["event_id"], seed) for shard in shards]
    )
    return np.uint64(np.partition(every, events - 1)[events - 1])


def _blocks(shard: Shard, highest: np.uint64, seed: int, block_points: int) -> Integers:
    """Return start, stop and number of taken events (3, B) of the blocks of `shard` that have any.

    A block ends with the event in which its taken points reach `block_points`.
    """
    arrays = shard.read(("offsets", "event_id"))
    taken = keys(arrays["event_id"], seed) <= highest
    sizes = np.where(taken, np.maximum(np.diff(arrays["offsets"]), 1), 0)
    number = (np.cumsum(sizes) - sizes) // block_points
    ends = np.flatnonzero(np.diff(number, append=number[-1:] + 1)) + 1
    starts = np.concatenate([[0], ends[:-1]])
    counts = np.add.reduceat(taken, starts, dtype=np.int64)
    return np.stack([starts, ends, counts])[:, counts > 0]
