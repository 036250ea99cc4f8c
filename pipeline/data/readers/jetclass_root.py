"""JetClass's files: TTree `tree`, one entry a jet, ragged constituents, one flag a class.

The released schema (doi:10.5281/zenodo.6619768): `part_*` are vector<float>, `part_is*` are
vector<int>, `label_QCD` is float, the labels of Higgs decays are bool, the others int32. The truth
`aux_*` is never read; `part_vertex`, which our simulation adds, becomes `vertex`. A file without a
single branch of labels is of jets whose classes nobody knows. Memory is bounded by the range and
one basket a branch: in files of 100,000 jets at most 0.4 GB, if each branch is one basket.
"""

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, offsets_of
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.jetclass import CLASSES, COLUMN_NAMES, FLAGS, OF_JET, POINTS
from pipeline.data.readers.jets import checked, exact_charge, of_jet
from pipeline.data.readers.root_branches import Column, Tree, stacked, tree_of
from pipeline.data.readers.root_files import opened_tree

TREE = "tree"
MAKER = "JetClass"
RAGGED = (*POINTS, "part_charge", *FLAGS)
VERTEX = "part_vertex"
LABELS = tuple(f"label_{name}" for name in CLASSES)


@contextlib.contextmanager
def open_root(path: Path) -> Iterator[Entries]:
    """Open `path`, tree `tree`; jets without one label, or of a wrong count, are counted.

    Raises:
        BadInput: The file is damaged, or has no tree `tree` with the branches of JetClass.
    """
    with opened_tree(path, TREE, MAKER) as found:
        names = found.keys()
        more = (VERTEX,) if VERTEX in names else ()
        labels = LABELS if any(name in names for name in LABELS) else ()
        tree = tree_of(path, found, MAKER, ragged=(*RAGGED, *more), flat=(*labels, *OF_JET))
        for name in POINTS:
            if tree.branches[name].dtype.newbyteorder("=") != np.float32:
                tree.branches[name].refuse("vector<float>")

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            return _jets(tree, more, labels, start, stop)

        yield Entries(tree.entries, read, checksum=tree.checksum)


def _jets(
    tree: Tree, more: tuple[str, ...], labels: tuple[str, ...], start: int, stop: int
) -> tuple[Events, Rejected]:
    """Return the good jets `start` to `stop`, and how many were rejected and why.

    `more` are branches of whole numbers of constituents beside those of the release; `labels` are
    those of classes, none where they are not known.
    """
    source = str(tree.path)
    columns = tree.columns((*RAGGED, *more), start, stop)
    points, sizes = stacked(columns, len(POINTS))
    charge = exact_charge(source, next(columns).values())
    species = _species(islice(columns, len(FLAGS)), len(points))
    truth = {column.branch.name.removeprefix("part_"): column.values() for column in columns}
    values = tree.flat((*labels, *OF_JET), start, stop)
    known, faults = {}, {}
    if labels:
        flags = np.column_stack([values[name] != 0 for name in labels])
        known = {"label": flags.argmax(axis=1).astype(np.int8)}
        faults = {"no_single_label": flags.sum(axis=1) != 1}
    events = Events(
        source=source,
        columns=COLUMN_NAMES,
        points=points,
        offsets=offsets_of(sizes),
        event_id=np.arange(start, stop),
        per_point={"charge": charge, "species": species, **truth},
        per_event={**known, **of_jet(values)},
    )
    return checked(events, values["jet_nparticles"], faults)


def _species(columns: Iterator[Column], count: int) -> Array:
    """Return the flags (P, 5) of `count` constituents.

    Raises:
        BadInput: One is neither 0 nor 1.
    """
    species = np.empty((count, len(FLAGS)), np.bool_)
    for number, column in enumerate(columns):
        values = column.values()
        np.equal(values, 1, out=species[:, number])
        if np.count_nonzero(values) != np.count_nonzero(species[:, number]):
            message = (
                f"{column.branch.path}: branch {column.branch.name} holds other values than 0 "
                "and 1. Take the file as it was released."
            )
            raise BadInput(message)
    return species
