"""Where helices cross cylinders around the beam: exact geometry, no material.

Axes: N particles, L cylinders, 2 crossings of a circle with a circle.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Doubles, Integers, Mask
from pipeline.data.particles import Particles

# p_T [GeV/c] = 0.299792458 B [T] R [m]: PDG, Particle detectors at accelerators, "Measurement of
# particle momenta in a uniform magnetic field".
GEV_PER_TESLA_CM = 0.00299792458
FULL_TURN = 2 * np.pi


@dataclass(frozen=True)
class Crossings:
    """Each crossing of particle `particle` with cylinder `layer`; `position` (C, 3) in cm.

    `path` is the length run in the layer per unit of its thickness.
    """

    particle: Integers
    layer: Integers
    position: Doubles
    path: Doubles


@dataclass(frozen=True)
class Circles:
    """The transverse circles of N particles: `x`, `y` the centres, `radius` in cm, `start` angle.

    `rotation` is the sense of rotation seen from +z: -1 for a positive charge in a field along +z.
    """

    x: Doubles
    y: Doubles
    radius: Doubles
    start: Doubles
    rotation: Doubles


def circles(particles: Particles, field_tesla: float) -> Circles:
    """Return the transverse circles of `particles` in a field along +z."""
    px, py, _ = particles.momentum.T
    pt = np.maximum(particles.pt_gev, 1e-9)
    radius = pt / (GEV_PER_TESLA_CM * field_tesla * np.abs(particles.charge))
    x = particles.vertex[:, 0] + np.sign(particles.charge) * radius * py / pt
    y = particles.vertex[:, 1] - np.sign(particles.charge) * radius * px / pt
    start = np.arctan2(particles.vertex[:, 1] - y, particles.vertex[:, 0] - x)
    return Circles(x, y, radius, start, -np.sign(particles.charge).astype(np.float64))


def turning(circle: Circles, radii_cm: Doubles) -> tuple[Doubles, Mask]:
    """Return the turning angles (N, L, 2) in [0, 2π) to each cylinder, and whether it is met."""
    distance = np.maximum(np.hypot(circle.x, circle.y), 1e-12)[:, None]
    cosine = (distance**2 + radii_cm**2 - circle.radius[:, None] ** 2) / (2 * distance * radii_cm)
    met = np.abs(cosine) <= 1
    half = np.arccos(np.clip(cosine, -1, 1))
    azimuth = np.arctan2(circle.y, circle.x)[:, None, None] + np.stack([half, -half], axis=-1)
    across = _column(circle.x), _column(circle.y)
    seen = np.arctan2(
        radii_cm[:, None] * np.sin(azimuth) - across[1],
        radii_cm[:, None] * np.cos(azimuth) - across[0],
    )
    angle = _column(circle.rotation) * (seen - _column(circle.start))
    return np.mod(angle, FULL_TURN), np.repeat(met[..., None], 2, axis=-1)


def crossings(
    particles: Particles, radii_cm: Doubles, *, field_tesla: float, outer_cm: float, half_cm: float
) -> Crossings:
    """Return where `particles` cross the cylinders `radii_cm` (L) within |z| ≤ `half_cm`.

    A particle is followed for one turn, or to the radius `outer_cm`, where it is absorbed.
    """
    inside = np.hypot(particles.vertex[:, 0], particles.vertex[:, 1]) < outer_cm
    circle = circles(particles, field_tesla)
    angle, met = turning(circle, radii_cm)
    last = _last_angle(circle, outer_cm)
    pitch = circle.radius * particles.momentum[:, 2] / np.maximum(particles.pt_gev, 1e-9)
    z = particles.vertex[:, 2, None, None] + pitch[:, None, None] * angle
    kept = (
        met & inside[:, None, None] & (angle > 0) & (angle < _column(last)) & (np.abs(z) <= half_cm)
    )
    particle, layer, _ = np.nonzero(kept)
    where = circle.start[particle] + circle.rotation[particle] * angle[kept]
    x = circle.x[particle] + circle.radius[particle] * np.cos(where)
    y = circle.y[particle] + circle.radius[particle] * np.sin(where)
    # The tangent is the circle's radius turned by 90°; its radial part tells how steeply we cross.
    steepness = np.abs(x * np.sin(where) - y * np.cos(where)) / radii_cm[layer]
    slant = np.hypot(1.0, pitch / circle.radius)[particle]
    path = slant / np.maximum(steepness, 0.3)
    return Crossings(particle, layer, np.stack([x, y, z[kept]], axis=1), path)


def _last_angle(circle: Circles, outer_cm: float) -> Doubles:
    """Return the turning angle (N) at which each particle leaves, 2π where it curls inside."""
    angle, met = turning(circle, np.array([outer_cm]))
    last: Doubles = np.where(met, angle, FULL_TURN).min(axis=(1, 2))
    return last


def _column(values: Doubles) -> Doubles:
    """Return `values` (N) as (N, 1, 1)."""
    return values[:, None, None]
