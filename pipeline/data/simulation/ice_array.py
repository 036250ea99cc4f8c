"""Where the sample telescope's sensors hang: 86 strings of 60 modules, laid out as IceCube's.

Not IceCube's surveyed positions: a regular array of the same size (JINST 12 P03012, sections 1, 2).
z is up, 0 in the middle of the array. Axes: S sensors, which count down string after string.
"""

import numpy as np

from pipeline.data.events import Array, Doubles, Integers

STRINGS = 78
SPACING_M = 125.0
MODULES = 60
TOP_M = 500.0
MODULE_SPACING_M = 17.0
# The dense strings: 10 modules above the dust layer, 10 m apart, and 50 below it, 7 m apart.
DENSE_STRINGS = 8
DENSE_DEPTHS_M: Doubles = np.concatenate(
    [190.0 - 10.0 * np.arange(10), -157.0 - 7.0 * np.arange(50)]
)
SENSORS = (STRINGS + DENSE_STRINGS) * MODULES


def positions_m() -> Doubles:
    """Return the positions (S, 3) of the sensors, in m."""
    sites = _nearest(STRINGS, np.zeros((1, 2)))
    # The middles of the two kinds of triangles of neighbouring strings.
    middle = np.array([0.5, np.sqrt(3) / 6]) * SPACING_M
    dense = _nearest(DENSE_STRINGS, np.array([middle, -middle]))
    regular_z = TOP_M - MODULE_SPACING_M * np.arange(MODULES, dtype=np.float64)
    return np.concatenate([_strings(sites, regular_z), _strings(dense, DENSE_DEPTHS_M)])


def _nearest(count: int, shifts_m: Doubles) -> Doubles:
    """Return the `count` points (count, 2) of shifted hexagonal lattices nearest to the middle."""
    i, j = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9), indexing="ij")
    lattice = np.stack([i + j / 2, j * np.sqrt(3) / 2], axis=-1).reshape(-1, 1, 2) * SPACING_M
    lattice = (lattice + shifts_m).reshape(-1, 2)
    distance = np.round(np.hypot(*lattice.T), 6)
    azimuth = np.round(np.arctan2(lattice[:, 1], lattice[:, 0]), 6)
    found: Doubles = lattice[np.lexsort((azimuth, distance))[:count]]
    return found


def _strings(sites: Doubles, z: Array) -> Doubles:
    """Return the modules at depths `z` of the strings at `sites`, string after string."""
    return np.column_stack([np.repeat(sites, len(z), axis=0), np.tile(z, len(sites))])


def module_of(sensor: Array) -> Integers:
    """Return how many modules hang above each sensor on its string."""
    return sensor % MODULES
