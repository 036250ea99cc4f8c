"""The sPHENIX time projection chamber: from charged particles to clusters.

A parametrised detector, for files in the real schema with realistic shapes; no Geant4. Charge per
cluster follows Moyal's approximation of Landau's law, delta electrons are drawn one cluster each.
Measured over 1,000 events, beside TPCpp-10M in brackets: 734 points an event (856), 13.0 tracks
(15.6), charge 253 with spread 272 ADC counts (253, 269). Tracks are missing because hadrons do not
interact in material and nothing comes back from the calorimeters.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.events import Doubles, Integers
from pipeline.data.particles import Particles, secondary_ids
from pipeline.data.simulation.helix import Crossings, crossings

FIELD_TESLA = 1.4
HALF_LENGTH_CM = 105.0
OUTER_CM = 78.0
# 48 pad rows in three groups of 16; first and last radius of each as in real clusters, whose radii
# exceed the row's by up to 0.023 % because pads are straight.
GROUPS_CM = ((31.372, 39.952), (41.659, 56.969), (58.911, 75.367))
LAYERS_CM: Doubles = np.concatenate([np.linspace(*group, 16) for group in GROUPS_CM])
STRAIGHT_PAD = 2.3e-4

# Cluster charge in ADC counts, tuned to the published mean 253 and spread 269 of TPCpp-10M.
CHARGE_SCALE = 100.0
CHARGE_WIDTH = 0.40
THRESHOLD_ADC = 10
SATURATION_ADC = 4000
EFFICIENCY = 0.96
RESOLUTION_RPHI_CM = 0.015
RESOLUTION_Z_CM = 0.05

# Delta electrons that leave a cluster of their own, per crossing; tuned to 856 points an event.
DELTAS_PER_CROSSING = 0.60
DELTA_MEV = (0.002, 1.0)
DELTA_SPREAD_CM = (0.3, 2.0)
ELECTRON_MEV = 0.510999


@dataclass(frozen=True)
class Clusters:
    """Clusters of several events, sorted by event and layer; `position` (C, 3) in cm.

    `particle` is the row of `particles` that made each; `charge_adc` is a whole number.
    """

    particles: Particles
    particle: Integers
    layer: Integers
    position: Doubles
    charge_adc: Doubles

    @property
    def event(self) -> Integers:
        """The event of each cluster, (C)."""
        return self.particles.event[self.particle]


def detect(particles: Particles, rng: np.random.Generator) -> Clusters:
    """Return the clusters that `particles`, and the delta electrons they free, leave in the gas."""
    found = crossings(
        particles,
        LAYERS_CM,
        field_tesla=FIELD_TESLA,
        outer_cm=OUTER_CM,
        half_cm=HALF_LENGTH_CM,
    )
    tracks = Clusters(
        particles,
        found.particle,
        found.layer,
        smeared(found, rng),
        charge(particles, found, rng),
    )
    return _recorded(_joined(tracks, deltas(particles, found, rng)), rng)


def smeared(found: Crossings, rng: np.random.Generator) -> Doubles:
    """Return the measured positions (C, 3): on the pad row, blurred along it and in drift."""
    x, y, z = found.position.T
    radius = LAYERS_CM[found.layer] * (1 + STRAIGHT_PAD * rng.random(len(x)))
    azimuth = np.arctan2(y, x) + rng.normal(scale=RESOLUTION_RPHI_CM, size=len(x)) / radius
    z = z + rng.normal(scale=RESOLUTION_Z_CM, size=len(x))
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)


def charge(particles: Particles, found: Crossings, rng: np.random.Generator) -> Doubles:
    """Return the charge (C) in ADC counts: loss × path × (1 + width × Moyal), fluctuating.

    Moyal's variable is -ln of a squared normal one: Moyal, Phil. Mag. 46 (1955) 263.
    """
    beta_gamma = np.linalg.norm(particles.momentum, axis=1) / particles.mass
    moyal = -2 * np.log(np.abs(rng.normal(size=len(found.path))) + 1e-12)
    amount = 1 + CHARGE_WIDTH * moyal
    return CHARGE_SCALE * energy_loss(beta_gamma)[found.particle] * found.path * amount


def energy_loss(beta_gamma: Doubles) -> Doubles:
    """Return the energy loss in argon relative to its minimum, for each βγ.

    Bethe's formula restricted to transfers below 100 keV, with Sternheimer's density effect: PDG,
    Passage of particles through matter, "Restricted energy loss rates"; argon's numbers from
    Sternheimer, Berger, Seltzer, At. Data Nucl. Data Tables 30 (1984) 261. Below βγ = 0.1, where
    particles hardly reach the gas, it is held constant.
    """
    return _bethe(np.maximum(beta_gamma, 0.1)) / _bethe(np.array([3.5]))


def _bethe(beta_gamma: Doubles) -> Doubles:
    excitation_ev, electron_ev, limit_ev = 188.0, ELECTRON_MEV * 1e6, 1e5
    c, x0, x1, a, m = 11.948, 1.7635, 4.4855, 0.19714, 2.9618
    beta2 = beta_gamma**2 / (1 + beta_gamma**2)
    x = np.log10(beta_gamma)
    bend = a * np.clip(x1 - x, 0, None) ** m
    density = np.where(x > x0, 2 * np.log(10) * x - c + bend, 0.0)
    largest = 2 * electron_ev * beta_gamma**2
    limit = np.minimum(limit_ev, largest)
    logarithm = np.log(largest * limit / excitation_ev**2) / 2
    loss: Doubles = (logarithm - beta2 * (1 + limit / largest) / 2 - density / 2) / beta2
    return loss


def deltas(particles: Particles, found: Crossings, rng: np.random.Generator) -> Clusters:
    """Return delta electrons freed at the crossings and the one cluster that each leaves.

    Their kinetic energy falls as 1/T² (PDG, "Energetic knock-on electrons"); directions are
    isotropic, and they curl up within millimetres across the field and centimetres along it.
    """
    rows = np.repeat(
        np.arange(len(found.particle)), rng.poisson(DELTAS_PER_CROSSING, len(found.particle))
    )
    event = particles.event[found.particle[rows]]
    rows, event = rows[np.argsort(event, kind="stable")], np.sort(event)
    origin = found.position[rows]
    electrons = Particles(
        event=event,
        track_id=_ids_after(particles, event),
        pdg=np.full(len(rows), 11, np.int32),
        charge=np.full(len(rows), -1, np.int32),
        mass=np.full(len(rows), ELECTRON_MEV / 1000),
        momentum=_delta_momenta(len(rows), rng),
        vertex=origin,
    )
    across = rng.normal(scale=DELTA_SPREAD_CM[0], size=len(rows))
    along = rng.laplace(scale=DELTA_SPREAD_CM[1], size=len(rows))
    azimuth = np.arctan2(origin[:, 1], origin[:, 0]) + across / LAYERS_CM[found.layer[rows]]
    radius = LAYERS_CM[found.layer[rows]] * (1 + STRAIGHT_PAD * rng.random(len(rows)))
    position = np.stack(
        [radius * np.cos(azimuth), radius * np.sin(azimuth), origin[:, 2] + along], axis=1
    )
    moyal = -2 * np.log(np.abs(rng.normal(size=len(rows))) + 1e-12)
    return Clusters(
        electrons,
        np.arange(len(rows)),
        found.layer[rows],
        position,
        CHARGE_SCALE * (1 + CHARGE_WIDTH * moyal),
    )


def _delta_momenta(count: int, rng: np.random.Generator) -> Doubles:
    """Return isotropic momenta (count, 3) in GeV/c for kinetic energies that fall as 1/T²."""
    low, high = DELTA_MEV
    kinetic = low / (1 - rng.random(count) * (1 - low / high))
    momentum = np.sqrt(kinetic**2 + 2 * kinetic * ELECTRON_MEV) / 1000
    direction = rng.normal(size=(count, 3))
    length = np.linalg.norm(direction, axis=1)
    vectors: Doubles = (momentum / length)[:, None] * direction
    return vectors


def _ids_after(particles: Particles, event: Integers) -> npt.NDArray[np.int32]:
    """Return negative ids for new particles in `event`, below those already given there."""
    lowest = np.zeros(int(max(event.max(initial=0), particles.event.max(initial=0))) + 1, np.int64)
    np.minimum.at(lowest, particles.event, particles.track_id)
    return (lowest[event] + secondary_ids(event, 1)).astype(np.int32)


def _joined(tracks: Clusters, others: Clusters) -> Clusters:
    return Clusters(
        particles=tracks.particles.joined(others.particles),
        particle=np.concatenate([tracks.particle, others.particle + len(tracks.particles)]),
        layer=np.concatenate([tracks.layer, others.layer]),
        position=np.concatenate([tracks.position, others.position]),
        charge_adc=np.concatenate([tracks.charge_adc, others.charge_adc]),
    )


def _recorded(clusters: Clusters, rng: np.random.Generator) -> Clusters:
    """Return the clusters over threshold, less the inefficiency, in the order of the read-out."""
    adc = np.minimum(np.round(clusters.charge_adc), SATURATION_ADC)
    kept = (adc >= THRESHOLD_ADC) & (rng.random(len(adc)) < EFFICIENCY)
    kept &= np.abs(clusters.position[:, 2]) <= HALF_LENGTH_CM
    x, y, _ = clusters.position.T
    order = np.lexsort((np.arctan2(y, x), clusters.layer, clusters.event))
    rows = order[kept[order]]
    return Clusters(
        clusters.particles,
        clusters.particle[rows],
        clusters.layer[rows],
        clusters.position[rows],
        adc[rows],
    )
