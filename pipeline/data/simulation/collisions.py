"""Proton-proton collisions at RHIC, by Pythia 8 in the Detroit tune, as TPCpp-10M has them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.events import Doubles, Integers
from pipeline.data.particles import Particles, secondary_ids

# The Detroit tune: Aguilar et al., Phys. Rev. D 105 (2022) 016011, arXiv:2110.09447.
# Non-diffractive collisions stand for the minimum-bias trigger, which asks for hits on both sides.
SETTINGS = (
    "Print:quiet = on",
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 200.",
    "SoftQCD:nonDiffractive = on",
    "PDF:pSet = 17",
    "MultipartonInteractions:ecmRef = 200.",
    "MultipartonInteractions:bProfile = 2",
    "MultipartonInteractions:pT0Ref = 1.40",
    "MultipartonInteractions:ecmPow = 0.135",
    "MultipartonInteractions:coreRadius = 0.56",
    "MultipartonInteractions:coreFraction = 0.78",
    "ColourReconnection:range = 5.4",
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 750.",
    "ParticleDecays:zMax = 1050.",
    "Random:setSeed = on",
)
BEAM_SPOT_CM = (0.01, 0.01, 10.0)
ATTEMPTS = 10

# Where a photon may convert before the gas: radius in cm, thickness in radiation lengths. Rounded
# from the sPHENIX TDR (2019): three MVTX layers, four of the INTT, the TPC's inner field cage.
MATERIAL = (
    *((radius, 0.003) for radius in (2.5, 3.3, 4.1)),
    *((radius, 0.011) for radius in (7.5, 8.0, 9.9, 10.5)),
    (20.0, 0.010),
)
ELECTRON_GEV = 0.000510999
PHOTON_ABOVE_GEV = 0.010


@dataclass(frozen=True)
class Row:
    """One final particle as Pythia gives it; lengths in mm, charge in thirds of e."""

    event: int
    pdg: int
    charge: int
    mass: float
    momentum: tuple[float, float, float]
    vertex: tuple[float, float, float]


class Generator:
    """A seeded source of collisions; the same seed gives the same collisions."""

    def __init__(self, seed: int) -> None:
        """Start Pythia with `seed`, which is taken modulo the 900 million it accepts."""
        import pythia8mc  # an optional library that takes seconds to load

        self._pythia: Any = pythia8mc.Pythia("", False)
        for setting in (*SETTINGS, f"Random:seed = {seed % 900_000_000 + 1}"):
            self._pythia.readString(setting)
        self._pythia.init()
        self._rng = np.random.default_rng([seed, 1])

    def collide(self, count: int) -> Particles:
        """Return the charged particles of `count` collisions, conversion electrons among them."""
        rows = [row for event in range(count) for row in self._rows(event)]
        vertices = self._rng.normal(scale=BEAM_SPOT_CM, size=(count, 3))
        charged = _particles([row for row in rows if row.charge], vertices)
        photons = _particles([row for row in rows if not row.charge], vertices)
        joined = charged.joined(convert(photons, self._rng))
        return joined.take(np.argsort(joined.event, kind="stable"))

    def _rows(self, event: int) -> list[Row]:
        """Return the final charged particles and photons of one new collision.

        Raises:
            RuntimeError: Pythia gave up several times in a row.
        """
        if not any(self._pythia.next() for _ in range(ATTEMPTS)):
            message = f"Pythia failed {ATTEMPTS} times in a row; run with another campaign seed."
            raise RuntimeError(message)
        return [
            Row(
                event=event,
                pdg=each.id(),
                charge=each.chargeType(),
                mass=each.m(),
                momentum=(each.px(), each.py(), each.pz()),
                vertex=(each.xProd(), each.yProd(), each.zProd()),
            )
            for each in self._pythia.event
            if each.isFinal() and (each.isCharged() or each.id() == 22)
        ]


def _particles(rows: list[Row], beam_vertices: Doubles) -> Particles:
    """Return `rows`, sorted by event, as particles with ids 1, 2, … in each event."""
    event = np.array([row.event for row in rows], np.int64)
    vertex = np.array([row.vertex for row in rows], np.float64).reshape(-1, 3) / 10
    return Particles(
        event=event,
        track_id=-secondary_ids(event, 1),
        pdg=np.array([row.pdg for row in rows], np.int32),
        charge=np.array([row.charge // 3 for row in rows], np.int32),
        mass=np.array([row.mass for row in rows], np.float64),
        momentum=np.array([row.momentum for row in rows], np.float64).reshape(-1, 3),
        vertex=vertex + beam_vertices[event],
    )


def convert(photons: Particles, rng: np.random.Generator) -> Particles:
    """Return the electron pairs from those of `photons` that convert in the inner material.

    A photon converts with probability 7/9 X/X0 along its path (PDG, Passage of particles through
    matter, "Energy loss by photons"); the energy is shared evenly at random, and the pair keeps
    the photon's direction, as their opening angle, about m/E, is below the resolution.
    """
    momentum = np.linalg.norm(photons.momentum, axis=1)
    photons = photons.take((momentum > PHOTON_ABOVE_GEV) & (photons.pt_gev > 0))
    momentum = np.linalg.norm(photons.momentum, axis=1)
    radii, thickness = np.array(MATERIAL).T
    slant = momentum / photons.pt_gev
    reached = np.hypot(photons.vertex[:, 0], photons.vertex[:, 1])[:, None] < radii
    chance = 7 / 9 * thickness * reached * slant[:, None]
    converted = rng.random(chance.shape) < chance
    rows = np.flatnonzero(converted.any(axis=1))
    radius = radii[converted[rows].argmax(axis=1)]
    step = (radius / photons.pt_gev[rows])[:, None] * photons.momentum[rows]
    share = rng.uniform(0.0, 1.0, size=len(rows))
    pairs = np.repeat(rows, 2)
    electrons = photons.take(pairs)
    fraction = np.stack([share, 1 - share], axis=1).ravel()[:, None]
    charge = _alternating(len(rows))
    return Particles(
        event=electrons.event,
        track_id=secondary_ids(electrons.event, 1),
        pdg=(-11 * charge).astype(np.int32),
        charge=charge.astype(np.int32),
        mass=np.full(len(pairs), ELECTRON_GEV),
        momentum=electrons.momentum * fraction,
        vertex=electrons.vertex + np.repeat(step, 2, axis=0),
    )


def _alternating(pairs: int) -> Integers:
    """Return the charges +1, -1 of `pairs` pairs, (2 × pairs)."""
    return np.tile(np.array([1, -1]), pairs)
