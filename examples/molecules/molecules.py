"""Alcohols and ethers: a seeded simulation, its reader, and the features of a pair of atoms.

    python examples/molecules/molecules.py FILES --events 1000 --seed 1

A molecule is a tree of four to nine heavy atoms on the diamond lattice, one of them oxygen, with
hydrogen on the free bonds. Bonds are 1.54 Å long, those to hydrogen 1.09 Å (C) and 0.96 Å (O)
(Allen et al., J. Chem. Soc. Perkin Trans. 2, S1, 1987). Atoms are shifted by 0.05 Å at random, and
the molecule is rotated at random. With oxygen at an end it is an alcohol, within the chain an
ether; the two are isomers. Axes: A atoms.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.data.experiment import Column, Experiment
from pipeline.data.readers.flat_npz import flat_npz

CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
BOND, TO_HYDROGEN, SHAKEN = 1.54, {6: 1.09, 8: 0.96}, 0.05  # Å
CARBON, OXYGEN, HYDROGEN = 6, 8, 1
CLASSES = ("alcohol", "ether")

# Step 1: what a point is. The reader is one line: flat arrays in an npz file.
COLUMNS = (
    *(
        Column(name=name, unit="Å", offset=0.0, scale=2.0, provenance="about their spread")
        for name in ("x", "y", "z")
    ),
    Column(name="charge", unit="e", offset=3.0, scale=3.0, provenance="between H and C"),
)
MOLECULES = Experiment(
    name="molecules",
    title="Molecules, by their atoms' places and nuclear charges",
    columns=COLUMNS,
    readers={".npz": flat_npz(("x", "y", "z", "charge"), per_event=("label",))},
    max_points=64,
)


# Step 2: the features of a pair of points. Columns come normalised, as COLUMNS declare.
def pairs(a, b):
    """Return ln r², ln of the repulsion Z Z'/r, and exp(-r²/bond²), of atoms (..., 4)."""
    import torch

    r2 = 4.0 * (a - b)[..., :3].square().sum(-1) + 0.01  # Å²; an atom and itself are 0.1 Å apart
    charges = (3 * a[..., 3] + 3) * (3 * b[..., 3] + 3)
    repulsion = charges.clamp(min=1e-3).log() - r2.log() / 2
    return torch.stack([r2.log(), repulsion, torch.exp(-r2 / BOND**2)], -1)


def tree(rng, count):
    """Return sites (count, 3) of the diamond lattice, and the atom each is bonded to (count,).

    A site next to two occupied ones would close a ring, and stays free. None if the tree got stuck.
    """
    places, parents = [np.zeros(3, int)], [-1]
    while len(places) < count:
        parent = int(rng.integers(len(places)))
        site = places[parent] + _signed(places[parent]) * CORNERS[rng.integers(4)]
        around = sum(
            any((site == each + _signed(each) * c).all() for c in CORNERS) for each in places
        )
        if around != 1 or any((site == each).all() for each in places):
            if rng.random() < 0.02:
                return None
            continue
        places.append(site)
        parents.append(parent)
    return np.array(places), np.array(parents)


def _signed(place):
    """Return the direction of a site's bonds: those of neighbours are opposite."""
    return 1 if place.sum() % 4 in (0, 3) and place[0] % 2 == 0 else -1


def molecule(rng, label):
    """Return the atoms (A, 4) of an alcohol or an ether: x, y, z in Å, and nuclear charge."""
    while True:
        grown = tree(rng, int(rng.integers(4, 10)))
        found = None if grown is None else _filled(rng, *grown, label)
        if found is not None:
            break
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    found[:, :3] = (found[:, :3] - found[:, :3].mean(0)) @ turn
    found[:, :3] += SHAKEN * rng.standard_normal((len(found), 3))
    return rng.permutation(found).astype(np.float32)


def _filled(rng, sites, parents, label):
    """Return the atoms (A, 4) with oxygen and hydrogen; None if there is no room for them."""
    bonds = np.bincount(parents[1:], minlength=len(sites)) + (parents >= 0)
    at = np.flatnonzero(bonds == (2 if label else 1))
    if not len(at):
        return None
    charge = np.where(np.arange(len(sites)) == rng.choice(at), OXYGEN, CARBON)
    atoms = [(*site * BOND / np.sqrt(3), z) for site, z in zip(sites, charge, strict=True)]
    for site, z, bonded in zip(sites, charge, bonds, strict=True):
        free = [c for c in _signed(site) * CORNERS if not any((site + c == s).all() for s in sites)]
        left = rng.permutation(free)[: (2 if z == OXYGEN else 4) - bonded]
        ends = ((site * BOND + corner * TO_HYDROGEN[z]) / np.sqrt(3) for corner in left)
        atoms += [(*end, HYDROGEN) for end in ends]
    found = np.array(atoms)
    apart = np.linalg.norm(found[:, None, :3] - found[None, :, :3], axis=-1)
    nearest = apart[np.triu_indices(len(found), 1)].min()
    return found if nearest > min(TO_HYDROGEN.values()) - 0.01 else None


def write(folder, events, seed):
    """Write molecules to `folder`: three quarters for training, the rest for the test."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", events - events // 4), ("test", events // 4)):
        label = rng.integers(0, 2, count)
        several = [molecule(rng, each) for each in label]
        sizes = np.array([len(each) for each in several])
        points = np.concatenate(several)
        np.savez(folder / f"{split}.npz", points=points, sizes=sizes, label=label)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.folder, options.events, options.seed)
