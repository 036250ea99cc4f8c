"""Directions of neutrino telescopes: azimuth and zenith of where a particle came from, and back.

Axes: E events.
"""

import numpy as np

from pipeline.data.events import Array, Doubles


def unit_vectors(azimuth: Array, zenith: Array) -> Doubles:
    """Return the unit vectors (E, 3) towards `azimuth` and `zenith` (E), in radians."""
    azimuth, zenith = np.asarray(azimuth, np.float64), np.asarray(zenith, np.float64)
    level = np.sin(zenith)
    return np.stack([np.cos(azimuth) * level, np.sin(azimuth) * level, np.cos(zenith)], axis=-1)


def angles(vectors: Doubles) -> tuple[Doubles, Doubles]:
    """Return azimuth in [0, 2π) and zenith in [0, π] of `vectors` (E, 3) of any length."""
    x, y, z = np.moveaxis(np.asarray(vectors, np.float64), -1, 0)
    azimuth = np.arctan2(y, x) % (2 * np.pi)
    # The remainder of a tiny negative angle rounds to 2π itself.
    return np.where(azimuth < 2 * np.pi, azimuth, 0.0), np.arctan2(np.hypot(x, y), z)
