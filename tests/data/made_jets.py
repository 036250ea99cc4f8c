"""Small files of jets in JetClass's schema that tests share."""

import awkward as ak
import numpy as np
import uproot

from pipeline.data.experiments.jetclass import (
    CLASSES,
    COLUMN_NAMES,
    FLAGS,
    OF_JET,
    POINTS,
    SPECIES,
)
from pipeline.data.simulation.jetclass import LABEL_TYPES

HEADER = 10  # bytes before each std::vector: length with its flag, version, count


def branches(sizes, *, seed=0):
    """Return the branches of jets with `sizes` particles: ragged ones flat, of the release's types.

    Numbers are of no physics, but finite and of both signs; class is the jet's place modulo 10.
    """
    rng = np.random.default_rng(seed)
    sizes = np.asarray(sizes, np.int64)
    count, points = len(sizes), int(sizes.sum())
    flat = {name: rng.normal(scale=9, size=points).astype(np.float32) for name in POINTS}
    flat["part_energy"] = np.abs(flat["part_energy"])
    flat["part_charge"] = rng.integers(-1, 2, points).astype(np.float32)
    kind = rng.integers(0, len(SPECIES), points)
    flat |= {name: (kind == number).astype(np.int32) for number, name in enumerate(FLAGS)}
    label = np.arange(count) % len(CLASSES)
    jets = {
        f"label_{name}": (label == number).astype(LABEL_TYPES[name])
        for number, name in enumerate(CLASSES)
    }
    jets |= {name: rng.normal(scale=99, size=count).astype(np.float32) for name in OF_JET}
    jets["jet_nparticles"] = sizes.astype(np.float32)
    return flat, jets


def write_jetclass(path, sizes, flat, jets, *, basket=1000, as_vectors=False):
    """Write branches as TTree `tree` with `basket` jets in each basket.

    With `as_vectors` the bytes of each entry are those of a std::vector<float> or <int>, which
    uproot itself cannot write: it sees unsigned bytes, until told otherwise by `as_in_release`.
    """
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    with uproot.recreate(path) as file:
        for start in range(0, len(sizes), basket):
            stop = min(len(sizes), start + basket)
            rows, some = slice(offsets[start], offsets[stop]), sizes[start:stop]
            ragged = {
                name: vectors(values[rows], some)
                if as_vectors
                else ak.unflatten(values[rows], some)
                for name, values in flat.items()
            }
            block = {**ragged, **{name: values[start:stop] for name, values in jets.items()}}
            if not start:
                kinds = {name: ak.type(values).content for name, values in ragged.items()}
                kinds |= {name: kind(values) for name, values in jets.items()}
                tree = file.mktree("tree", kinds)
            tree.extend(block)
    return path


def kind(values):
    """Return the type of one entry of a branch: a number, several, or a ragged list of them."""
    if isinstance(values, ak.Array):
        return ak.type(values).content
    return np.dtype((values.dtype, values.shape[1:]))


def vectors(values, sizes):
    """Return ragged bytes: each entry as ROOT streams a std::vector of four-byte numbers."""
    entries = []
    for part in np.split(values, np.cumsum(sizes)[:-1]):
        length = np.array([0x40000000 | (6 + 4 * len(part))], ">u4")
        head = length.tobytes() + b"\x00\x09" + np.array([len(part)], ">u4").tobytes()
        entries.append(
            np.frombuffer(head + part.astype(part.dtype.newbyteorder(">")).tobytes(), np.uint8)
        )
    return ak.unflatten(np.concatenate(entries), [len(each) for each in entries])


def expected(flat):
    """Return the points (P, 10), charge (P) and species (P, 5) of flat branches."""
    points = np.column_stack([flat[f"part_{name}"] for name in COLUMN_NAMES])
    species = np.column_stack([flat[name] == 1 for name in FLAGS])
    return points, flat["part_charge"].astype(np.int8), species
