"""Light of muon tracks and cascades in ice: what reaches which sensor, and when.

A parametrisation of the textbook kind, not a photon propagation: uniform ice, no dust layer, no
angular response of the sensors. Times follow the Cherenkov cone and Pandel's distribution of
scattering delays (AMANDA, NIM A 524 (2004) 169, astro-ph/0407044). Axes: E events, S sensors,
H sensors with light, of all events.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Doubles, Integers, Mask
from pipeline.data.preparation.directions import unit_vectors

LIGHT_M_PER_NS = 0.299792458
PHASE_INDEX = 1.32
GROUP_INDEX = 1.356  # both of ice at 400 nm: Price and Woschnagg, Astropart. Phys. 15 (2001) 97
CONE = np.arccos(1 / PHASE_INDEX)
# Absorption over 100 m and effective scattering over 25 m: sqrt(100 × 25 / 3), AMANDA, JGR 111
# (2006) D13203.
ATTENUATION_M = 29.0
# Photoelectrons: Frank and Tamm's photons of 300 to 600 nm on a sensor of 50 cm² effective area;
# a GeV of shower shines as 5.3 m of bare track (Rädel, Wiebusch, Astropart. Phys. 44 (2013) 102).
PHOTONS_PER_M = 32_600.0
SENSOR_M2 = 0.005
TRACK_PE_M = PHOTONS_PER_M * SENSOR_M2 / (2 * np.pi * np.sin(CONE))
CASCADE_PE_M2_PER_GEV = PHOTONS_PER_M * SENSOR_M2 * 5.3 / (4 * np.pi)
NEAREST_M = 1.0
MOST_PE = 1e5
# Muons lose a + b E (PDG, ice): a in GeV/m, b in 1/m.
LOSS_GEV_PER_M = 0.24
LOSS_PER_M = 3.3e-4
LOWEST_GEV, HIGHEST_GEV = 1e2, 1e6
SPECTRAL_INDEX = 1.5
TRACK_SHARE = 0.5
RADIUS_M, HALF_HEIGHT_M, BEFORE_M = 600.0, 550.0, 800.0
SPREAD = 0.25


@dataclass(frozen=True)
class Sources:
    """What shines: muons that start at `position` (E, 3), m, and cascades there, at time 0.

    `direction` (E, 3) is that of flight; `azimuth` and `zenith` (E) say where it came from.
    """

    is_track: Mask
    position: Doubles
    direction: Doubles
    azimuth: Doubles
    zenith: Doubles
    energy_gev: Doubles

    def __len__(self) -> int:
        return len(self.energy_gev)


@dataclass(frozen=True)
class Light:
    """Photoelectrons that sensors see: whose and where (H), their mean, the first time, the way."""

    event: Integers
    sensor: Integers
    expected_pe: Doubles
    direct_ns: Doubles
    distance_m: Doubles


def draw(count: int, rng: np.random.Generator) -> Sources:
    """Return `count` sources: isotropic, energies from a power law."""
    is_track = rng.random(count) < TRACK_SHARE
    slope = 1 - SPECTRAL_INDEX
    energy = rng.uniform(HIGHEST_GEV**slope, LOWEST_GEV**slope, count) ** (1 / slope)
    azimuth, zenith = rng.uniform(0, 2 * np.pi, count), np.arccos(rng.uniform(-1, 1, count))
    direction = -unit_vectors(azimuth, zenith)
    radius, angle = RADIUS_M * np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    across, other = _perpendicular(direction)
    aim = radius[:, None] * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other)
    height = rng.uniform(-HALF_HEIGHT_M, HALF_HEIGHT_M, count)
    vertex = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height])
    position = np.where(is_track[:, None], aim - BEFORE_M * direction, vertex)
    return Sources(is_track, position, direction, azimuth, zenith, energy)


def _perpendicular(direction: Doubles) -> tuple[Doubles, Doubles]:
    """Return two unit vectors (E, 3) across each of `direction`, and across each other."""
    steep = np.abs(direction[:, 2:]) > 0.9
    one = np.cross(direction, np.where(steep, [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    return one, np.cross(direction, one)


def shine(sources: Sources, sensors: Doubles, least_pe: float = 1e-4) -> Light:
    """Return the light of `sources` at `sensors` (S, 3) that is worth drawing."""
    way = sensors[None] - sources.position[:, None]
    along = np.einsum("esk,ek->es", way, sources.direction)
    squared = np.einsum("esk,esk->es", way, way)
    track = sources.is_track[:, None]
    across = np.sqrt(np.maximum(squared - along**2, 0))
    emitted = np.where(track, along - across / np.tan(CONE), 0.0)
    flown = np.where(track, across / np.sin(CONE), np.sqrt(squared))
    expected = np.where(
        track,
        _track_pe(sources.energy_gev[:, None], emitted, across),
        _cascade_pe(sources.energy_gev[:, None], along, flown),
    )
    event, sensor = np.nonzero(expected > least_pe)
    at = (event, sensor)
    time = (emitted[at] + flown[at] * GROUP_INDEX) / LIGHT_M_PER_NS
    return Light(event, sensor, np.minimum(expected[at], MOST_PE), time, flown[at])


def _track_pe(energy_gev: Doubles, emitted_m: Doubles, across_m: Doubles) -> Doubles:
    """Return the mean photoelectrons of a muon's light, sent `emitted_m` after its start.

    A muon that loses twice as much shines twice as much; where it has stopped, it is dark.
    """
    critical = LOSS_GEV_PER_M / LOSS_PER_M
    gone = np.maximum(emitted_m, 0) * LOSS_PER_M
    left = (energy_gev + critical) * np.exp(-gone) - critical
    shines = (emitted_m >= 0) & (left > 0)
    near = np.maximum(across_m, NEAREST_M)
    light = TRACK_PE_M * (1 + left / critical) * np.exp(-near / ATTENUATION_M) / near
    return np.where(shines, light, 0.0)


def _cascade_pe(energy_gev: Doubles, along_m: Doubles, away_m: Doubles) -> Doubles:
    """Return the mean photoelectrons of a shower: most of it near the cone, half of it anywhere."""
    away = np.maximum(away_m, NEAREST_M)
    cosine = along_m / away
    cone = np.exp(-np.abs(cosine - np.cos(CONE)) / SPREAD) / (2 * SPREAD)
    light = CASCADE_PE_M2_PER_GEV * energy_gev * (0.5 + cone)
    expected: Doubles = light * np.exp(-away / ATTENUATION_M) / away**2
    return expected
