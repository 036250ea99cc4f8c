"""Read all points of a store, against the same points in other formats."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from pipeline.data.store import Store
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest, Work


def contests(folder: Path, *, events: int) -> Iterator[Contest]:
    """Yield one contest for each codec of a store."""
    source = samples.npz(folder / "reading", events)
    stores = {}
    for codec in ("zstd", "lz4"):
        place = folder / "reading" / codec
        stores[codec] = samples.stage(place, samples.task(place, source, codec=codec))
    points = _points(stores["zstd"])
    others = {
        "np.load, compressed npz": _npz(folder, points),
        "h5py, gzip, chunks of 8192": _hdf5(folder, points),
        "np.memmap, copied": _memmap(folder, points),
    }
    for codec, store in stores.items():
        yield Contest(
            what=f"read points, store with {codec}",
            amount=points.nbytes / 1e6,
            unit="MB",
            ours=lambda store=store: _points(store),
            others=others,
            limits=frozenset({"np.memmap, copied"}),
        )


def _points(store: Store) -> np.ndarray:
    """Return all points (P, 4) of the store."""
    shards = [shard.read(("points",))["points"] for shard in store.shards("train")]
    return shards[0] if len(shards) == 1 else np.concatenate(shards)


def _npz(folder: Path, points: np.ndarray) -> Work:
    path = folder / "points.npz"
    np.savez_compressed(path, data=points)
    return lambda: np.load(path)["data"]


def _hdf5(folder: Path, points: np.ndarray) -> Work:
    path = folder / "points.h5"
    with h5py.File(path, "w") as file:
        chunks = (min(8192, len(points)), points.shape[1])
        file.create_dataset("data", data=points, chunks=chunks, compression="gzip")

    def read() -> np.ndarray:
        with h5py.File(path) as file:
            return file["data"][:]

    return read


def _memmap(folder: Path, points: np.ndarray) -> Work:
    path = folder / "points.bin"
    points.tofile(path)
    return lambda: np.array(np.memmap(path, np.float32, "r", shape=points.shape))
