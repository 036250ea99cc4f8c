"""How others keep events of all sizes in files and read them in a random order.

Each maker writes the events once and returns a function that yields, for a batch size, batches of
whole events in a new random order: their points (P, F), contiguous, and offsets. Written from
their documentation.
"""

import sys
import types
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mmap_ninja.ragged import RaggedMmap

from pipeline.data.events import Events, offsets_of

Batches = Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]
PADDED = 150  # particles of a jet, as OmniLearned has them
GROUP_EVENTS = 2000
# Where `make bench` puts MosaicML streaming, whose declared dependencies exclude our numpy.
MOSAIC = Path(sys.prefix) / "rivals"


def memmap(folder: Path, events: Events, *, keep: bool = True) -> Batches:
    """All points end to end in one file; its pages can leave memory unless we `keep` the map."""
    path = _in(folder, "points.bin")
    events.points.tofile(path)
    shape, offsets = events.points.shape, events.offsets
    kept = np.memmap(path, np.float32, "r", shape=shape) if keep else None

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        points = np.memmap(path, np.float32, "r", shape=shape) if kept is None else kept
        for chosen in _random(len(offsets) - 1, size):
            yield _packed([points[offsets[each] : offsets[each + 1]] for each in chosen])

    return batches


def mmap_ninja(folder: Path, events: Events) -> Batches:
    """A ragged memory map of that library."""
    samples = np.split(events.points, events.offsets[1:-1])
    kept = RaggedMmap.from_lists(_in(folder, "ninja"), samples)

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for chosen in _random(len(kept), size):
            yield _packed(kept[chosen])

    return batches


def padded_hdf5(folder: Path, events: Events) -> Batches:
    """Padded to 150 particles in HDF5 files, read jet by jet, batches cut to their longest jet."""
    paths = [_in(folder, f"jets-{number}.h5") for number in range(2)]
    padded = np.zeros((len(events), PADDED, events.points.shape[1]), np.float32)
    place = np.arange(len(events.points)) - events.offsets[events.event]
    padded[events.event, place] = events.points
    for path, part in zip(paths, np.array_split(padded, len(paths)), strict=True):
        with h5py.File(path, "w") as file:
            file["data"] = part
    files = [h5py.File(path)["data"] for path in paths]
    index = [(number, row) for number, data in enumerate(files) for row in range(len(data))]

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for chosen in _random(len(index), size):
            jets = np.stack([files[index[each][0]][index[each][1]] for each in chosen])
            there = jets[:, :, 3] > 0  # energy
            longest = int(there.sum(axis=1).max())
            yield jets[:, :longest][there[:, :longest]], offsets_of(there.sum(axis=1))

    return batches


def parquet(folder: Path, events: Events) -> Batches:
    """One row an event, a list for each column; row groups in random order, each shuffled."""
    path = _in(folder, "events.parquet")
    lists = [
        pa.ListArray.from_arrays(pa.array(events.offsets, pa.int32()), pa.array(column))
        for column in np.ascontiguousarray(events.points.T)
    ]
    pq.write_table(pa.table(lists, events.columns), path, row_group_size=GROUP_EVENTS)
    file = pq.ParquetFile(path)

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng()
        for group in rng.permutation(file.num_row_groups):
            columns = file.read_row_group(int(group), use_threads=False).columns
            lists = [each.chunk(0) for each in columns]
            points = np.column_stack([np.asarray(each.flatten()) for each in lists])
            offsets = np.asarray(lists[0].offsets)
            for chosen in _random(len(lists[0]), size):
                yield _packed([points[offsets[each] : offsets[each + 1]] for each in chosen])

    return batches


def no_mosaic() -> str:
    """Return why MosaicML streaming cannot be measured here, nothing if it can."""
    if not (MOSAIC / "streaming").is_dir() and not util.find_spec("streaming"):
        return f"it is not installed: `make bench` puts it into {MOSAIC}."
    return ""


def mosaic(folder: Path, events: Events) -> Batches:
    """An MDS dataset, uncompressed, its shards in random order and shuffled in blocks."""
    streaming = _streaming()
    place = _in(folder, "mds")
    with streaming.MDSWriter(out=str(place), columns={"points": "ndarray:float32"}) as writer:
        for sample in np.split(events.points, events.offsets[1:-1]):
            writer.write({"points": sample})
    streaming.base.util.clean_stale_shared_memory()
    kept: dict[int, object] = {}

    def batches(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if size not in kept:
            kept[size] = streaming.StreamingDataset(local=str(place), shuffle=True, batch_size=size)
        waiting = []
        for sample in kept[size]:
            waiting.append(sample["points"])
            if len(waiting) == size:
                yield _packed(waiting)
                waiting = []
        if waiting:
            yield _packed(waiting)

    return batches


def _streaming() -> types.ModuleType:
    """Return MosaicML streaming without its parts for pictures and texts and what these import."""
    if str(MOSAIC) not in sys.path:
        sys.path.append(str(MOSAIC))
    unneeded = {
        "streaming.text": (),
        "streaming.vision": (),
        "streaming.multimodal": (),
        "transformers": (),
        "transformers.feature_extraction_utils": ("BatchFeature",),
        "transformers.tokenization_utils_base": ("BatchEncoding",),
    }
    for name, classes in unneeded.items():
        empty = types.ModuleType(name)
        for each in classes:
            setattr(empty, each, type(each, (), {}))
        sys.modules.setdefault(name, empty)
    import streaming
    import streaming.base.util

    return streaming


def _in(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _random(count: int, size: int) -> Iterator[np.ndarray]:
    """Yield all of `count` places in random order, `size` at a time."""
    order = np.random.default_rng().permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def _packed(samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(samples), offsets_of(np.array([len(each) for each in samples]))
