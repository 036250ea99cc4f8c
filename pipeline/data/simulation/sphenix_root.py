"""Write samples in the schema of the sPHENIX tree maker, both its generations in one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from pipeline.data.events import Array
from pipeline.data.readers.sphenix_root import TPC, TREE
from pipeline.data.simulation.root_file import recreated
from pipeline.data.simulation.sample import Sample

COUNTERS = {
    "Hit": "nHits",
    "particle": "nParticles",
    "reco_cluster": "nRecoClusters",
    "truth_cluster": "nTruthClusters",
    "track_g4hit": "nTrackG4Hits",
}
POSITION = ("x", "y", "z")


def write_root(path: Path, sample: Sample) -> None:
    """Write `sample` as TTree `T` in `path`, whole or not at all.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    tables = {name: table(sample) for name, table in TABLES.items()}
    with recreated(path) as file:
        tree = file.mktree(
            TREE,
            {name: each.type.content for name, each in tables.items()},
            counter_name=COUNTERS.__getitem__,
            field_name=lambda table, name: f"{table}_{name}",
        )
        tree.extend(tables)


def _ragged(columns: dict[str, Array], sizes: Array) -> Any:
    """Return flat `columns` as one ragged table with `sizes` rows an event."""
    return ak.zip({name: ak.unflatten(each, sizes) for name, each in columns.items()})


def _calorimeter_hits(sample: Sample) -> Any:
    """Return the calorimeters' hits: none, as the sample has a TPC alone."""
    none = np.zeros(0, np.float32)
    columns: dict[str, Array] = dict.fromkeys(("E", "x", "y", "z", "t"), none)
    sizes = np.zeros(len(sample.events), np.int64)
    return _ragged({**columns, "detid": np.zeros(0, np.int32)}, sizes)


def _particles(sample: Sample) -> Any:
    """Return the particles, each its own primary unless material made it."""
    particles = sample.particles
    sizes = np.bincount(particles.event, minlength=len(sample.events))
    momentum = particles.momentum.astype(np.float32)
    vertex = particles.vertex.astype(np.float32)
    columns: dict[str, Array] = {
        "pid": particles.pdg,
        "energy": particles.energy_gev.astype(np.float32),
        **{f"p{axis}": momentum[:, i] for i, axis in enumerate(POSITION)},
        **{f"vtx_{axis}": vertex[:, i] for i, axis in enumerate(POSITION)},
        "track_id": particles.track_id,
        "primary_id": np.maximum(particles.track_id, 0),
        "is_pythia_primary": (particles.track_id > 0).astype(np.int32),
        "charge": particles.charge,
    }
    return _ragged(columns, sizes)


def _points(sample: Sample) -> dict[str, Array]:
    """Return what every table of clusters or hits has of each point; `t` in ns is not simulated."""
    names = ("E", *POSITION)
    columns: dict[str, Array] = {name: sample.events.points[:, i] for i, name in enumerate(names)}
    return {**columns, "t": np.zeros(len(sample.particle), np.float32)}


def _numbers(sample: Sample) -> Array:
    """Return 1, 2, … for the points of each event: 0 would mean unmatched."""
    return np.arange(len(sample.particle)) - sample.events.offsets[sample.events.event] + 1


def _reco_clusters(sample: Sample) -> Any:
    number = _numbers(sample)
    columns = {
        **_points(sample),
        "detid": np.full(len(number), TPC, np.int32),
        "trcluster_id": number.astype(np.uint32),
        "g4hit_id": number.astype(np.uint64),
    }
    return _ragged(columns, sample.events.sizes)


def _truth_clusters(sample: Sample) -> Any:
    number = _numbers(sample)
    columns = {
        **_points(sample),
        "detid": np.full(len(number), TPC, np.int32),
        "id": number.astype(np.uint32),
        "trparticle_track_id": sample.particles.track_id[sample.particle],
    }
    return _ragged(columns, sample.events.sizes)


def _g4hits(sample: Sample) -> Any:
    columns = {
        **_points(sample),
        "trparticle_track_id": sample.particles.track_id[sample.particle],
        "id": _numbers(sample).astype(np.uint64),
    }
    return _ragged(columns, sample.events.sizes)


TABLES: dict[str, Callable[[Sample], Any]] = {
    "Hit": _calorimeter_hits,
    "particle": _particles,
    "reco_cluster": _reco_clusters,
    "truth_cluster": _truth_clusters,
    "track_g4hit": _g4hits,
}
