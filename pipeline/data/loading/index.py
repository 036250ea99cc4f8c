"""The events of a split that are taken, cut into blocks of consecutive events.

Axes: B blocks, E events.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.events import Integers
from pipeline.data.splits import Keys, keys
from pipeline.data.store import Shard, Store

BLOCK_POINTS = 1 << 19
BLOCKS_PER_LANE = 8


@dataclass(frozen=True)
class Index:
    """Blocks (B) of consecutive events of the shards, each of about the same number of points.

    Block b is the events `start` to `stop` of shard `shard`, of which `events` are taken: those
    whose key, by the seed `subset`, is at most `highest`. `source` is the store and `columns` those
    of its points.
    """

    source: str
    columns: tuple[str, ...]
    shards: tuple[Shard, ...]
    shard: Integers
    start: Integers
    stop: Integers
    events: Integers
    highest: np.uint64
    subset: int

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
        return keys(event_id, self.subset) <= self.highest


def index_of(
    store: Store, split: str, *, events: int | None = None, lanes: int = 1, subset: int = 0
) -> Index:
    """Return the index of `events` events of a split of `store`, or of all of them.

    The events with the lowest keys are taken, so that a smaller subset lies in every larger one,
    whatever the files and their order. `subset` is the seed of the keys.

    Raises:
        BadInput: The split is missing, or a shard is damaged.
    """
    shards = store.shards(split)
    stored = store.events(split)
    highest = np.uint64(2**64 - 1)
    if events is not None and events < stored:
        highest = _lowest(shards, events, subset)
    share = store.points(split) * (events or stored) / max(stored, 1)
    block_points = max(1, min(BLOCK_POINTS, int(share / (lanes * BLOCKS_PER_LANE))))
    tables = [_blocks(shard, highest, block_points, subset) for shard in shards]
    counts = [table.shape[1] for table in tables]
    start, stop, taken = np.concatenate(tables, axis=1)
    return Index(
        source=str(store.path),
        columns=tuple(column.name for column in store.manifest.columns),
        shards=tuple(shards),
        shard=np.repeat(np.arange(len(shards)), counts),
        start=start,
        stop=stop,
        events=taken,
        highest=highest,
        subset=subset,
    )


def _lowest(shards: list[Shard], events: int, subset: int) -> np.uint64:
    """Return the highest of the `events` lowest keys of all events."""
    of_all: Keys = np.concatenate(
        [keys(shard.read(("event_id",))["event_id"], subset) for shard in shards]
    )
    return np.uint64(np.partition(of_all, events - 1)[events - 1])


def _blocks(shard: Shard, highest: np.uint64, block_points: int, subset: int) -> Integers:
    """Return start, stop and number of taken events (3, B) of the blocks of `shard` that have any.

    A block ends with the event in which its taken points reach `block_points`.
    """
    arrays = shard.read(("offsets", "event_id"))
    taken = keys(arrays["event_id"], subset) <= highest
    sizes = np.where(taken, np.maximum(np.diff(arrays["offsets"]), 1), 0)
    number = (np.cumsum(sizes) - sizes) // block_points
    ends = np.flatnonzero(np.diff(number, append=number[-1:] + 1)) + 1
    starts = np.concatenate([[0], ends[:-1]])
    counts = np.add.reduceat(taken, starts, dtype=np.int64)
    return np.stack([starts, ends, counts])[:, counts > 0]
