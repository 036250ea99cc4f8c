"""JetClass's files: TTree `tree`, one entry a jet, ragged constituents, one flag a class.

The released schema (doi:10.5281/zenodo.6619768): `part_*` are vector<float>, `part_is*` are
vector<int>, `label_QCD` is float, the labels of Higgs decays are bool, the others int32. The truth
`aux_*` is never read. Memory is bounded by the range and one basket a branch: in files of 100,000
jets at most 0.4 GB, if each branch is one basket.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers, offsets_of
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.jetclass import CLASSES, COLUMN_NAMES, FLAGS, OF_JET, POINTS
from pipeline.data.readers.jets import checked, exact_charge, of_jet
from pipeline.data.readers.root_branches import Branch, Part, branches, opened_tree, whole

TREE = "tree"
MAKER = "JetClass"
CHARGE = "part_charge"
LABELS = tuple(f"label_{name}" for name in CLASSES)


@contextlib.contextmanager
def open_root(path: Path) -> Iterator[Entries]:
    """Open `path`, tree `tree`; jets without one label, or of a wrong count, are counted.

    Raises:
        BadInput: The file is damaged, or has no tree `tree` with the branches of JetClass.
    """
    with opened_tree(path, TREE, MAKER) as tree:
        with whole(path):
            names = (*POINTS, *FLAGS, CHARGE, *LABELS, *OF_JET)
            found = branches(path, tree, names, MAKER)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            with whole(path):
                return _jets(path, found, start, stop)

        yield Entries(tree.num_entries, read)


def _jets(path: Path, found: dict[str, Branch], start: int, stop: int) -> tuple[Events, Rejected]:
    """Return the good jets `start` to `stop`, and how many were rejected and why."""
    first = list(found[POINTS[0]].parts(start, stop))
    sizes = found[POINTS[0]].sizes(first)
    points = np.empty((int(sizes.sum()), len(POINTS)), np.float32)
    for column, name in enumerate(POINTS):
        parts = _parts(found[name], sizes, start, stop) if column else first
        _expect(found[name], ">f4")
        found[name].fill(points.view(np.uint32)[:, column], parts)
    values = {name: found[name].values(start, stop) for name in (*LABELS, *OF_JET)}
    flags = np.column_stack([values[name] != 0 for name in LABELS])
    events = Events(
        source=str(path),
        columns=COLUMN_NAMES,
        points=points,
        offsets=offsets_of(sizes),
        event_id=np.arange(start, stop),
        per_point={
            "charge": exact_charge(str(path), _flat(found[CHARGE], sizes, start, stop)),
            "species": _species(found, sizes, start, stop),
        },
        per_event={
            "label": flags.argmax(axis=1).astype(np.int8),
            **of_jet(values),
        },
    )
    return checked(events, values["jet_nparticles"], {"no_single_label": flags.sum(axis=1) != 1})


def _parts(branch: Branch, sizes: Integers, start: int, stop: int) -> list[Part]:
    """Return the entries `start` to `stop` of `branch`.

    Raises:
        BadInput: They are not of `sizes` (E).
    """
    parts = list(branch.parts(start, stop))
    if not branch.is_ragged or not np.array_equal(branch.sizes(parts), sizes):
        message = (
            f"{branch.path}: {branch.name} and {POINTS[0]} have other lengths in jets {start} to "
            f"{stop}. The file is damaged; fetch it again."
        )
        raise BadInput(message)
    return parts


def _expect(branch: Branch, *kinds: str) -> None:
    """Check the type of a branch.

    Raises:
        BadInput: It is none of `kinds`.
    """
    if not branch.is_ragged or branch.dtype.str not in kinds:
        wanted = {">f4": "vector<float>", ">i4": "vector<int>"}
        message = (
            f"{branch.path}: branch {branch.name} holds {branch.dtype}; expected "
            f"{' or '.join(wanted[kind] for kind in kinds)}. Take the file as it was released."
        )
        raise BadInput(message)


def _flat(branch: Branch, sizes: Integers, start: int, stop: int) -> Array:
    """Return the numbers (P) of a ragged branch, float or int."""
    _expect(branch, ">f4", ">i4")
    words = np.empty(int(sizes.sum()), np.uint32)
    branch.fill(words, _parts(branch, sizes, start, stop))
    return words.view(branch.dtype.newbyteorder("="))


def _species(found: dict[str, Branch], sizes: Integers, start: int, stop: int) -> Array:
    """Return the flags (P, 5) of the constituents.

    Raises:
        BadInput: One is neither 0 nor 1.
    """
    species = np.empty((int(sizes.sum()), len(FLAGS)), np.bool_)
    for column, name in enumerate(FLAGS):
        values = _flat(found[name], sizes, start, stop)
        np.equal(values, 1, out=species[:, column])
        if np.count_nonzero(values) != np.count_nonzero(species[:, column]):
            message = (
                f"{found[name].path}: branch {name} holds other values than 0 and 1. "
                "Take the file as it was released."
            )
            raise BadInput(message)
    return species
