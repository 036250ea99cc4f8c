"""A small file of each format that a reader takes, in the experiment's own schema."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "data")]

import made_events  # noqa: E402 - found by the path above where pytest does not run
import made_jets  # noqa: E402
import made_pulses  # noqa: E402
import test_graphnet  # noqa: E402
import test_jetclass_parquet  # noqa: E402
import test_omnilearned  # noqa: E402
import test_sphenix_hdf5  # noqa: E402
import test_star  # noqa: E402
import test_vectors_npz  # noqa: E402

from pipeline.data.readers.omnilearned_h5 import write_h5  # noqa: E402
from pipeline.data.readers.sphenix_npz import write_npz  # noqa: E402
from pipeline.data.simulation.sample import make  # noqa: E402
from pipeline.data.simulation.sphenix_root import write_root  # noqa: E402

SIZES = [20, 31, 7, 25, 40, 22, 35, 24]


@dataclass(frozen=True)
class Format:
    """A format: its experiment, how a file is written into a folder, and its checksum.

    `checksum` detects a flipped bit among values, "" where there is none; only if it is `of_all`
    values, no wrong number may enter a store.
    """

    experiment: str
    write: Callable[[Path], Path]
    checksum: str = ""
    of_all: bool = True


def _sphenix_npz(folder: Path) -> Path:
    write_npz(folder / "spacepoints_000.npz", made_events.events(SIZES), labelled=False)
    return folder / "spacepoints_000.npz"


def _sphenix_root(folder: Path) -> Path:
    write_root(folder / "pp.root", make(8, seed=5, source="sample"))
    return folder / "pp.root"


def _sphenix_hdf5(folder: Path) -> Path:
    return Path(test_sphenix_hdf5.dump(folder / "data_event_0.h5"))


def _star(folder: Path) -> Path:
    return Path(test_star.write(folder / "star.root", test_star.hits(SIZES)))


def _jetclass(folder: Path) -> Path:
    flat, jets = made_jets.branches(SIZES)
    return Path(made_jets.write_jetclass(folder / "HToBB_000.root", SIZES, flat, jets))


def _jetclass2(folder: Path, **options: Any) -> Path:
    table = pa.table(test_jetclass_parquet.columns(SIZES))
    pq.write_table(table, folder / "jets.parquet", **options)
    return folder / "jets.parquet"


def _jetclass2_with_checksums(folder: Path) -> Path:
    return _jetclass2(folder, write_page_checksum=True)


def _omnilearned(folder: Path) -> Path:
    write_h5(folder / "jets.h5", test_omnilearned.jets(SIZES))
    return folder / "jets.h5"


def _vectors(folder: Path) -> Path:
    arrays = {"vectors": test_vectors_npz.vectors(8, 30), "labels": np.arange(8) % 2}
    np.savez(folder / "jets.npz", **arrays)
    return folder / "jets.npz"


def _kaggle(folder: Path) -> Path:
    return Path(made_pulses.batch(folder, made_pulses.pulses(SIZES)))


def _database(folder: Path) -> Path:
    pulses, truth = test_graphnet.tables(SIZES)
    return Path(test_graphnet.database(folder / "ice.db", SRTInIcePulses=pulses, truth=truth))


def _nested(folder: Path) -> Path:
    return Path(test_graphnet.nested(folder / "ice.parquet", *test_graphnet.tables(SIZES)))


BASKETS = "Adler-32 of compressed baskets"  # a basket that does not become smaller has none
FORMATS = {
    "sphenix npz": Format("sphenix", _sphenix_npz, "CRC-32 of members"),
    "sphenix ROOT": Format("sphenix", _sphenix_root, BASKETS, of_all=False),
    "sphenix HDF5 dump": Format("sphenix-positions", _sphenix_hdf5),
    "star ROOT": Format("star", _star, BASKETS, of_all=False),
    "jetclass ROOT": Format("jetclass", _jetclass, BASKETS, of_all=False),
    "jetclass2 parquet": Format("jetclass2", _jetclass2),
    "jetclass2 parquet, CRC": Format("jetclass2", _jetclass2_with_checksums, "CRC-32 of pages"),
    "omnilearned HDF5, gzip": Format("omnilearned", _omnilearned, "Adler-32 of chunks"),
    "omnilearned npz": Format("omnilearned", _vectors, "CRC-32 of members"),
    "icecube parquet": Format("icecube", _kaggle),
    "graphnet SQLite": Format("graphnet", _database),
    "graphnet parquet": Format("graphnet", _nested),
}
