"""Jets of visible particles as JetClass selects them, and their substructure.

Anti-kt (Cacciari, Salam, Soyez, arXiv:0802.1189) with R = 0.8, 500 < pT < 1000 GeV, |η| < 2.
Momenta are px, py, pz, E in GeV. Axes: N particles of one jet.
"""

from dataclasses import dataclass
from typing import Any

import fastjet
import numpy as np

from pipeline.data.events import Array, Doubles
from pipeline.data.simulation.jet_events import Process, Truth, Visible

RADIUS = 0.8
PT_GEV = (500.0, 1000.0)
ETA = 2.0
# Larkoski, Marzani, Soyez, Thaler, "Soft drop", arXiv:1402.2657, as JetClass: z_cut, β = 0.
SOFT_DROP_Z = 0.1
AXES = 4


@dataclass(frozen=True)
class Jet:
    """A jet: its `particles` by falling pT, four-momentum (4), groomed mass in GeV and τ1 to τ4."""

    particles: Visible
    momentum: Doubles
    groomed_mass: float
    tau: Doubles
    truth: Truth | None


def find(particles: Visible, truths: list[Truth], process: Process) -> Jet | None:
    """Return the hardest jet of the collision if it is one of `process`, else the next that is.

    Without a resonance only the hardest counts. A jet is of a resonance if that and all its visible
    products lie within the radius.
    """
    inputs = [fastjet.PseudoJet(*map(float, each)) for each in particles.momentum]
    for index, each in enumerate(inputs):
        each.set_user_index(index)
    clusters = fastjet.ClusterSequence(
        inputs, fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    )
    jets = fastjet.sorted_by_pt(clusters.inclusive_jets(PT_GEV[0]))
    for jet in jets if process.resonance else jets[:1]:
        if not (jet.pt() < PT_GEV[1] and abs(jet.eta()) < ETA):
            continue
        owned = [each for each in truths if _holds(jet, each)]
        if owned or not process.resonance:
            return _jet(jet, particles, owned[0] if owned else None)
    return None


def _holds(jet: Any, truth: Truth) -> bool:
    """Return whether the resonance and all it decays to lie in `jet`."""
    axis = np.array([[jet.px(), jet.py(), jet.pz(), jet.e()]])
    return bool((distance(np.vstack([truth.momentum, truth.products]), axis) < RADIUS).all())


def _jet(jet: Any, particles: Visible, truth: Truth | None) -> Jet:
    """Return `jet` with its particles by falling pT, and its substructure."""
    rows = np.array([each.user_index() for each in jet.constituents()])
    pt = np.hypot(*particles.momentum[rows, :2].T)
    mine = particles.take(rows[np.argsort(-pt, kind="stable")])
    return Jet(
        particles=mine,
        momentum=mine.momentum.sum(axis=0),
        groomed_mass=groomed_mass(mine.momentum),
        tau=np.array([subjettiness(mine.momentum, count) for count in range(1, AXES + 1)]),
        truth=truth,
    )


def polar(momentum: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return pT, pseudorapidity and azimuth of momenta (N, 4); pT is above 0."""
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    return pt, np.arcsinh(momentum[:, 2] / pt), np.arctan2(momentum[:, 1], momentum[:, 0])


def distance(some: Doubles, others: Doubles) -> Doubles:
    """Return ΔR = √(Δη² + Δφ²) of momenta (N, 4) and (M, 4), as (N, M)."""
    (_, eta, phi), (_, other_eta, other_phi) = polar(some), polar(others)
    dphi = (phi[:, None] - other_phi + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(eta[:, None] - other_eta, dphi)


def clustered(momentum: Doubles, algorithm: int) -> Any:
    """Return the sequence that joins all particles (N, 4) to one jet."""
    inputs = [fastjet.PseudoJet(*map(float, each)) for each in momentum]
    largest = fastjet.JetDefinition.max_allowable_R
    return fastjet.ClusterSequence(inputs, fastjet.JetDefinition(algorithm, largest))


def groomed_mass(momentum: Doubles) -> float:
    """Return the mass after soft drop with β = 0, of particles (N, 4).

    The jet is clustered anew by angle (Cambridge/Aachen) and taken apart: while the softer branch
    has less than z_cut of the pT, it is dropped.
    """
    sequence = clustered(momentum, fastjet.cambridge_algorithm)
    (jet,) = fastjet.sorted_by_pt(sequence.inclusive_jets())[:1]
    one, other = fastjet.PseudoJet(), fastjet.PseudoJet()
    while jet.has_parents(one, other):
        hard, soft = (one, other) if one.pt() > other.pt() else (other, one)
        if soft.pt() > SOFT_DROP_Z * (hard.pt() + soft.pt()):
            break
        jet = fastjet.PseudoJet(hard)
    return float(max(jet.m(), 0.0))


def subjettiness(momentum: Doubles, count: int) -> float:
    """Return τ of `count` axes, those of exclusive kt jets, for particles (N, 4).

    Thaler, Van Tilburg, arXiv:1011.2268, eq. 1, β = 1; 0 for no more particles than axes.
    """
    if len(momentum) <= count:
        return 0.0
    sequence = clustered(momentum, fastjet.kt_algorithm)
    jets = sequence.exclusive_jets(count)
    axes = np.array([(each.px(), each.py(), each.pz(), each.e()) for each in jets])
    pt: Array = np.hypot(momentum[:, 0], momentum[:, 1])
    nearest = distance(momentum, axes).min(axis=1)
    return float((pt * nearest).sum() / (pt.sum() * RADIUS))
