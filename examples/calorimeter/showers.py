"""Electron and pion showers in a calorimeter: a seeded simulation, and its experiment.

    python examples/calorimeter/showers.py FILES --events 1000 --seed 1

Thirty layers, each a radiation length deep, of cells of 5 mm. An electron deposits its energy along
the depth by a gamma distribution (PDG, Passage of particles through matter: b = 0.5, the maximum at
ln(E/E_c) - 0.5) and some millimetres across. A pion is a line of single cells until it interacts,
an interaction length deep in the mean; from there its shower is longer and wider, and a part of its
energy is invisible. Two in five exchange their charge there, and shower like an electron. Some
cells of each event are electronic noise. It is a toy compared with Geant4. Axes: D deposits, C
cells.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.data.experiment import Column, Experiment
from pipeline.data.readers.flat_npz import flat_npz

LAYERS, CELL = 30, 5.0  # each 1 X0 deep; mm
CRITICAL, INTERACTION, EXCHANGE = 0.008, 25.0, 0.4  # GeV; X0; fraction
THRESHOLD, NOISY = 3e-4, 12  # GeV; mean number of cells
CLASSES = ("electron", "pion")

COLUMNS = (
    Column(name="x", unit="mm", offset=0.0, scale=20.0, provenance="about a shower's width"),
    Column(name="y", unit="mm", offset=0.0, scale=20.0, provenance="about a shower's width"),
    Column(name="layer", unit="1", offset=15.0, scale=10.0, provenance="30 layers"),
    Column(name="log_energy", unit="ln GeV", offset=-5.0, scale=2.0, provenance="mean, spread"),
)
SHOWERS = Experiment(
    name="showers",
    title="Showers in a calorimeter, by their cells",
    columns=COLUMNS,
    readers={
        ".npz": flat_npz(
            ("x", "y", "layer", "log_energy"),
            per_point=("noise",),
            per_event=("label", "energy_gev"),
        )
    },
    max_points=512,
)


def deposits(rng, label, energy):
    """Return the deposits (D, 4) of a particle of `energy` in GeV: x and y in mm, depth, GeV."""
    start = min(rng.exponential(INTERACTION), LAYERS) if label else 0.0
    is_hadronic = label and rng.random() > EXCHANGE
    visible = energy * (rng.uniform(0.5, 0.9) if is_hadronic else 1.0)
    count = 40 + int(30 * np.sqrt(visible))
    peak = np.log(visible / CRITICAL) - 0.5
    depth = start + rng.gamma(1 + 0.5 * peak, 3.0 if is_hadronic else 2.0, count)
    across = rng.exponential(10.0 if is_hadronic else 6.0, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    shares = visible * rng.dirichlet(np.ones(count))
    line = np.arange(0.5, start)
    track = np.stack([0 * line, 0 * line, line, np.full_like(line, 2e-3)], -1)
    shower = np.stack([across * np.cos(angle), across * np.sin(angle), depth, shares], -1)
    return np.concatenate([track, shower])


def event(rng, label, energy):
    """Return the cells (C, 4) that a particle lights, in the columns of a store, and noise (C)."""
    found = deposits(rng, label, energy)
    found = found[found[:, 2] < LAYERS]
    cells, of = np.unique(_cells(found[:, :3]), axis=0, return_inverse=True)
    energies = np.bincount(of.ravel(), found[:, 3])
    noisy = _cells(rng.uniform((-60, -60, 0), (60, 60, LAYERS), (rng.poisson(NOISY), 3)))
    values = np.concatenate([energies, THRESHOLD * (1 + rng.exponential(1, len(noisy)))])
    noise = np.arange(len(values)) >= len(cells)
    centres = (np.concatenate([cells, noisy]) + 0.5) * (CELL, CELL, 1)
    kept = rng.permutation(np.flatnonzero(values > THRESHOLD))
    columns = np.column_stack([centres, np.log(values)]).astype(np.float32)
    return columns[kept], noise[kept]


def _cells(places):
    """Return the cell (D, 3) of each place: columns of x and y, and the layer."""
    return np.floor(places / (CELL, CELL, 1)).astype(int)


def write(folder, events, seed):
    """Write showers of 2 to 50 GeV to `folder`: three quarters for training, the rest to test."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", events - events // 4), ("test", events // 4)):
        label = rng.integers(0, 2, count)
        energy = np.exp(rng.uniform(np.log(2), np.log(50), count)).astype(np.float32)
        several = [event(rng, *each) for each in zip(label, energy, strict=True)]
        np.savez(
            folder / f"{split}.npz",
            points=np.concatenate([points for points, _ in several]),
            noise=np.concatenate([noise for _, noise in several]),
            sizes=np.array([len(points) for points, _ in several]),
            label=label,
            energy_gev=energy,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.folder, options.events, options.seed)
