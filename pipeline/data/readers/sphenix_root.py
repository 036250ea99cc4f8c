"""Clusters of the sPHENIX tree maker: TTree `T`, flat arrays with counters.

The schema of BNL-DAQ-LDRD/calotrack_tree. Points are the TPC's clusters; the particle of each comes
through its Geant4 hit where the file has those, else through its truth cluster; where it has
neither, nor particles, nothing is known of them: so it is of data. As that project's converter
does, events are rejected for four reasons, and counted.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.events import (
    CARTESIAN,
    Array,
    Events,
    Integers,
    Mask,
    offsets_of,
)
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.particles import labels_of
from pipeline.data.readers.exact import exact
from pipeline.data.readers.matching import Keys, match
from pipeline.data.readers.root_branches import Tree, tree_of
from pipeline.data.readers.root_files import opened_tree

TREE = "T"
TPC = 2
REJECTIONS = ("empty_tpc", "missing_reco_data", "missing_g4hits", "missing_particle_data")
RECO = ("E", "x", "y", "z", "detid")
PARTICLE = ("track_id", "pid", "px", "py")
MAKER = "a sPHENIX tree maker"


@dataclass(frozen=True)
class Link:
    """How a cluster finds its particle: its column `key`, matched to `table`_id.

    `complete` says that every cluster has a match, so that one without is a fault of the event.
    """

    key: str
    table: str
    complete: bool


G4HIT = Link("g4hit_id", "track_g4hit", complete=True)
TRUTH = Link("trcluster_id", "truth_cluster", complete=False)


@dataclass(frozen=True)
class Table:
    """Flat columns (N) of one kind of thing, and the event of each row."""

    event: Integers
    columns: dict[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def keys(self, name: str) -> Keys:
        """Return the column `name` as identifiers."""
        return Keys(self.event, self.columns[name])

    def take(self, rows: Array) -> "Table":
        """Return the rows at `rows`, an index or a mask."""
        return Table(self.event[rows], {key: each[rows] for key, each in self.columns.items()})


@contextlib.contextmanager
def open_root(path: Path) -> Iterator[Entries]:
    """Open `path`, tree `T`; its events come with the labels it has, the bad ones are counted.

    Raises:
        BadInput: The file is damaged, or has no tree `T` with the branches of the tree maker.
    """
    with opened_tree(path, TREE, MAKER) as found:
        link = _link(found.keys())
        wanted: dict[str, tuple[str, ...]] = {"reco_cluster": RECO}
        if link is not None:
            wanted["reco_cluster"] = (*RECO, link.key)
            wanted |= {link.table: ("id", "trparticle_track_id"), "particle": PARTICLE}
        branches = tuple(f"{table}_{name}" for table, names in wanted.items() for name in names)
        tree = tree_of(path, found, MAKER, ragged=branches)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            tables = {
                table: _table(tree, table, names, start, stop) for table, names in wanted.items()
            }
            return _events(path, tables, link, np.arange(start, stop))

        yield Entries(tree.entries, read, checksum=tree.checksum)


def _link(branches: list[str]) -> Link | None:
    """Return how clusters find their particles, None where the file has nothing of either."""
    if f"reco_cluster_{G4HIT.key}" in branches:
        return G4HIT
    tables = tuple(f"{each}_" for each in (G4HIT.table, TRUTH.table, "particle"))
    return TRUTH if any(name.startswith(tables) for name in branches) else None


def _table(tree: Tree, prefix: str, names: tuple[str, ...], start: int, stop: int) -> Table:
    """Return the branches `prefix`_`names` of the entries `start` to `stop` as one flat table."""
    found = tree.columns(tuple(f"{prefix}_{name}" for name in names), start, stop)
    columns, sizes = zip(*((column.values(), column.sizes) for column in found), strict=True)
    event = np.repeat(np.arange(stop - start), sizes[0])
    return Table(event, dict(zip(names, columns, strict=True)))


def _owners(
    tables: dict[str, Table], clusters: Table, link: Link
) -> tuple[Integers, dict[str, Mask]]:
    """Return the particle (P) of each of `clusters`, -1 for none; and the faults in that (P)."""
    truth, particles = tables[link.table], tables["particle"]
    hit = match(clusters.keys(link.key), truth.keys("id"))
    owner = match(truth.keys("trparticle_track_id"), particles.keys("track_id"))
    particle = np.full(len(hit), -1)
    particle[hit >= 0] = owner[hit[hit >= 0]]
    return particle, {
        "missing_g4hits": (hit < 0) & link.complete,
        "missing_particle_data": (hit >= 0) & (particle < 0),
    }


def _labels(path: Path, particles: Table, row: Integers) -> dict[str, Array]:
    """Return the labels of points made by the particles `row` (P), -1 for none."""
    return labels_of(
        row,
        track_id=exact(path, "particle_track_id", particles["track_id"], np.int32),
        pdg=exact(path, "particle_pid", particles["pid"], np.int32),
        px=particles["px"],
        py=particles["py"],
    )


def _events(
    path: Path, tables: dict[str, Table], link: Link | None, entries: Integers
) -> tuple[Events, dict[str, int]]:
    """Return the good events among `entries`, and how many were rejected and why."""
    clusters = tables["reco_cluster"]
    clusters = clusters.take(clusters["detid"] == TPC)
    points = np.column_stack([clusters[name] for name in RECO[:4]]).astype(np.float32)
    incomplete = np.count_nonzero(np.isnan(points), axis=1) > 0
    faults: dict[str, Mask] = {"missing_reco_data": incomplete}
    if link is not None:
        particle, of_truth = _owners(tables, clusters, link)
        faults |= of_truth
    reason = _rejections(clusters.event, faults, len(entries))
    good = reason == len(REJECTIONS)
    rows = good[clusters.event]
    events = Events(
        source=str(path),
        points=points[rows],
        offsets=offsets_of(np.bincount(clusters.event, minlength=len(entries))[good]),
        event_id=entries[good],
        per_point={} if link is None else _labels(path, tables["particle"], particle[rows]),
        columns=CARTESIAN,
    )
    return events, {name: int(np.sum(reason == i)) for i, name in enumerate(REJECTIONS)}


def _rejections(event: Integers, faults: dict[str, Mask], count: int) -> Integers:
    """Return for each of `count` events the index of its first fault in REJECTIONS, else 4."""
    reason = np.full(count, len(REJECTIONS))
    for name, bad in reversed(faults.items()):
        reason[event[bad]] = REJECTIONS.index(name)
    reason[np.bincount(event, minlength=count) == 0] = REJECTIONS.index("empty_tpc")
    return reason
