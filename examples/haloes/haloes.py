"""Dark matter haloes: a seeded simulation, its reader, and the features of a pair of haloes.

    python examples/haloes/haloes.py FILES --events 1000 --seed 1

A box of 100 Mpc/h holds a lognormal field with the linear power spectrum of Bardeen et al. (ApJ
304, 15, 1986, eq. G3), normalised to σ8. Haloes above 10^13.7 M☉/h have the number and the masses
of Press and Schechter (ApJ 187, 425, 1974), and lie where the field is high. A model predicts Ωm
and σ8, which are drawn uniformly. It is a toy compared with an N-body simulation: no velocities, no
redshift. Axes: G cells per side, H haloes per box, K wave numbers.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.data.experiment import Column, Experiment
from pipeline.data.readers.flat_npz import flat_npz

BOX, CELLS, HUBBLE, BIAS = 100.0, 24, 0.7, 1.6  # Mpc/h; cells per side; h; of the log field
CRITICAL = 2.775e11  # critical density, (M☉/h) / (Mpc/h)³
MASSES = np.geomspace(10**13.7, 10**15.5, 120)  # M☉/h
WAVES = np.geomspace(1e-3, 30.0, 400)  # h/Mpc
COLLAPSE = 1.686  # linear overdensity at which a sphere has collapsed
RANGES = {"omega_m": (0.2, 0.4), "sigma8": (0.7, 0.95)}

# Step 1: what a point is. The reader is one line: flat arrays in an npz file.
COLUMNS = (
    *(
        Column(name=name, unit="Mpc/h", offset=BOX / 2, scale=BOX / 4, provenance="the box")
        for name in ("x", "y", "z")
    ),
    Column(name="log_mass", unit="log10 M☉/h", offset=14.0, scale=0.25, provenance="mean, spread"),
)
HALOES = Experiment(
    name="haloes",
    title="Dark matter haloes of a periodic box",
    columns=COLUMNS,
    readers={".npz": flat_npz(("x", "y", "z", "log_mass"), per_event=tuple(RANGES))},
    max_points=256,
)


# Step 2: the features of a pair of points. Columns come normalised, so the box is 4 wide.
def pairs(a, b):
    """Return ln r², ln of the pull m m'/r², and the log of the masses' ratio, of haloes (..., 4).

    The box is periodic. Distances are softened by 0.5 Mpc/h.
    """
    import torch

    apart = (a - b)[..., :3]
    apart = apart - 4.0 * (apart / 4.0).round()
    log_r2 = (apart.square().sum(-1) + (0.5 / (BOX / 4)) ** 2).log()
    pull = a[..., 3] + b[..., 3] - log_r2
    return torch.stack([log_r2, pull, (a[..., 3] - b[..., 3]).abs()], -1)


def power(waves, omega_m):
    """Return the linear power spectrum (K), not normalised."""
    q = waves / (omega_m * HUBBLE)  # the shape is Γ = Ωm h
    rest = 1 + 3.89 * q + (16.1 * q) ** 2 + (5.46 * q) ** 3 + (6.71 * q) ** 4
    return waves * (np.log(1 + 2.34 * q) / (2.34 * q) * rest**-0.25) ** 2


def variance(radii, omega_m):
    """Return the variance of the field in spheres of `radii`, Mpc/h, not normalised."""
    x = np.outer(radii, WAVES)
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    integrand = power(WAVES, omega_m) * WAVES**3 * window**2 / (2 * np.pi**2)
    return np.trapezoid(integrand, np.log(WAVES), axis=1)


def mass_function(omega_m, sigma8):
    """Return the number of haloes per box above each of `MASSES`, by Press and Schechter."""
    density = CRITICAL * omega_m
    radii = (3 * MASSES / (4 * np.pi * density)) ** (1 / 3)
    ratio = variance(np.append(radii, 8.0), omega_m)
    sigma = sigma8 * np.sqrt(ratio[:-1] / ratio[-1])
    nu, slope = COLLAPSE / sigma, -np.gradient(np.log(sigma), np.log(MASSES))
    each = np.sqrt(2 / np.pi) * density / MASSES * slope * nu * np.exp(-(nu**2) / 2)
    steps = np.diff(np.log(MASSES)) * (each[1:] + each[:-1]) / 2
    return BOX**3 * np.append(steps[::-1].cumsum()[::-1], 0.0)


def field(rng, omega_m, sigma8):
    """Return the overdensity (G, G, G), normal, with the power spectrum of this universe."""
    along = 2 * np.pi * np.fft.fftfreq(CELLS, BOX / CELLS)
    half = 2 * np.pi * np.fft.rfftfreq(CELLS, BOX / CELLS)
    wave = np.sqrt(sum(np.square(np.meshgrid(along, along, half, indexing="ij"))))
    wave[0, 0, 0] = np.inf
    scale = sigma8**2 / variance(np.array([8.0]), omega_m)[0]
    spectrum = np.where(np.isfinite(wave), power(np.where(np.isinf(wave), 1, wave), omega_m), 0)
    noise = np.fft.rfftn(rng.standard_normal((CELLS,) * 3))
    shaped = noise * np.sqrt(scale * spectrum * CELLS**3 / BOX**3)
    return np.fft.irfftn(shaped, s=(CELLS,) * 3, axes=(0, 1, 2))


def box(rng, omega_m, sigma8):
    """Return the haloes (H, 4) of a box, heaviest first: the heavy ones where the field is high."""
    above = mass_function(omega_m, sigma8)
    count = max(8, rng.poisson(above[0]))
    log_mass = np.sort(np.interp(rng.random(count) * above[0], above[::-1], np.log10(MASSES)[::-1]))
    delta = field(rng, omega_m, sigma8)
    chance = np.exp(BIAS * delta).ravel()
    cells = rng.choice(chance.size, count, p=chance / chance.sum())
    cells = cells[np.argsort(delta.ravel()[cells] + 0.3 * rng.standard_normal(count))]
    corner = np.stack(np.unravel_index(cells, delta.shape), 1)
    place = (corner + rng.random((count, 3))) * BOX / CELLS
    return np.column_stack([place, log_mass])[::-1].astype(np.float32)


def write(folder, events, seed):
    """Write boxes of haloes to `folder`: three quarters for training, the rest for the test."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", events - events // 4), ("test", events // 4)):
        truth = {name: rng.uniform(*limits, count) for name, limits in RANGES.items()}
        boxes = [box(rng, *each) for each in zip(*truth.values(), strict=True)]
        sizes = np.array([len(each) for each in boxes])
        truth = {name: values.astype(np.float32) for name, values in truth.items()}
        np.savez(folder / f"{split}.npz", points=np.concatenate(boxes), sizes=sizes, **truth)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.folder, options.events, options.seed)
