"""LHC collisions that hold a jet of a wanted class, by Pythia 8, and their visible particles.

The ten processes of JetClass (arXiv:2202.03772, appendix A): a resonance with great transverse
momentum recoils against Z → νν, or against the other top quark. Particle level: no detector.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.events import Array, Doubles

BEAMS = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "PhaseSpace:pTHatMin = 450.",
    "PhaseSpace:pTHatMax = 1100.",
    # As far out as impact parameters reach in JetClass-II's example, beyond which nothing decays.
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 300.",
    "ParticleDecays:zMax = 300.",
    "Random:setSeed = on",
)
QUARKS, LEPTONS, NEUTRINOS = (1, 2, 3, 4, 5), (11, 13), (12, 14, 16)
Z, W, HIGGS, TOP = 23, 24, 25, 6


@dataclass(frozen=True)
class Process:
    """How jets of one class come about.

    `settings` make Pythia's events, in which `resonance` (0: none) decays to `quarks` quarks or
    gluons and `leptons` charged leptons, through whatever lies between.
    """

    label: int
    settings: tuple[str, ...]
    resonance: int = 0
    quarks: int = 2
    leptons: int = 0


def decays(particle: int, *products: tuple[int, ...]) -> tuple[str, ...]:
    """Return settings that let `particle` decay to any of the sets of `products` alone."""
    matches = [f"{particle}:onIfMatch = {' '.join(map(str, each))}" for each in products]
    return (f"{particle}:onMode = off", *matches)


def any_of(particle: int, *products: int) -> tuple[str, ...]:
    """Return settings that let `particle` decay to what holds any of `products` alone."""
    return (f"{particle}:onMode = off", f"{particle}:onIfAny = {' '.join(map(str, products))}")


ON_SHELL_Z = "WeakZ0:gmZmode = 2"
UNSEEN_Z = any_of(Z, *NEUTRINOS)
WITH_HIGGS = ("HiggsSM:ffbar2HZ = on", *UNSEEN_Z)
TO_W = decays(HIGGS, (W, -W))
HADRONIC_W, ANY_W = any_of(W, *QUARKS), any_of(W, *QUARKS, *LEPTONS)
TOPS = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
JET_AND_Z = ("WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on")
# In the order of the labels, as the names of JetClass's files.
PROCESSES: dict[str, Process] = {
    "ZJetsToNuNu": Process(0, (*JET_AND_Z, ON_SHELL_Z, *UNSEEN_Z)),
    "HToBB": Process(1, (*WITH_HIGGS, *decays(HIGGS, (5, -5))), HIGGS),
    "HToCC": Process(2, (*WITH_HIGGS, *decays(HIGGS, (4, -4))), HIGGS),
    "HToGG": Process(3, (*WITH_HIGGS, *decays(HIGGS, (21, 21))), HIGGS),
    "HToWW4Q": Process(4, (*WITH_HIGGS, *TO_W, *HADRONIC_W), HIGGS, quarks=4),
    "HToWW2Q1L": Process(5, (*WITH_HIGGS, *TO_W, *ANY_W), HIGGS, leptons=1),
    "ZToQQ": Process(
        6, ("WeakDoubleBoson:ffbar2gmZgmZ = on", ON_SHELL_Z, *any_of(Z, *QUARKS, *NEUTRINOS)), Z
    ),
    "WToQQ": Process(7, ("WeakDoubleBoson:ffbar2ZW = on", ON_SHELL_Z, *UNSEEN_Z, *HADRONIC_W), W),
    "TTBar": Process(8, (*TOPS, *HADRONIC_W), TOP, quarks=3),
    "TTBarLep": Process(9, (*TOPS, *ANY_W), TOP, quarks=1, leptons=1),
}
ATTEMPTS = 10


@dataclass(frozen=True)
class Visible:
    """The final particles of one collision but neutrinos; momentum px, py, pz, E in GeV.

    `vertex` is where each was made, in mm from the collision. Axes: N particles.
    """

    momentum: Doubles
    vertex: Doubles
    pdg: Array
    charge: Array

    def take(self, rows: Array) -> "Visible":
        """Return the particles at `rows`."""
        columns = (self.momentum, self.vertex, self.pdg, self.charge)
        return Visible(*(each[rows] for each in columns))


@dataclass(frozen=True)
class Truth:
    """A resonance and what it decays to: momenta (4) and (D, 4), PDG code."""

    momentum: Doubles
    products: Doubles
    pdg: int


class Collider:
    """A seeded source of collisions of one process; the same seed gives the same collisions."""

    def __init__(self, process: Process, seed: int) -> None:
        """Start Pythia with `seed`, which is taken modulo the 900 million it accepts."""
        import pythia8mc  # an optional library that takes seconds to load

        self._process = process
        self._pythia: Any = pythia8mc.Pythia("", False)
        for setting in (*BEAMS, *process.settings, f"Random:seed = {seed % 900_000_000 + 1}"):
            self._pythia.readString(setting)
        self._pythia.init()

    def collisions(self) -> Iterator[tuple[Visible, list[Truth]]]:
        """Yield collisions for ever: visible particles, and the resonances of the process.

        Raises:
            RuntimeError: Pythia gave up several times in a row.
        """
        while True:
            if not any(self._pythia.next() for _ in range(ATTEMPTS)):
                message = (
                    f"Pythia failed {ATTEMPTS} times in a row; run with another campaign seed."
                )
                raise RuntimeError(message)
            event = self._pythia.event
            yield visible(event), list(resonances(event, self._process))


def visible(event: Any) -> Visible:
    """Return the final particles of a Pythia `event` that a detector might see."""
    some = [each for each in event if each.isFinal() and each.isVisible()]
    momentum = [(each.px(), each.py(), each.pz(), each.e()) for each in some]
    vertex = [(each.xProd(), each.yProd(), each.zProd()) for each in some]
    return Visible(
        np.array(momentum, np.float64).reshape(-1, 4),
        np.array(vertex, np.float64).reshape(-1, 3),
        np.array([each.id() for each in some], np.int32),
        np.array([each.chargeType() // 3 for each in some], np.int8),
    )


def resonances(event: Any, process: Process) -> Iterator[Truth]:
    """Yield the resonances of `process` in `event` that decay as it wants."""
    for index in range(event.size()):
        found = event[index]
        if found.idAbs() != process.resonance or found.iBotCopyId() != index:
            continue
        products = list(_products(event, index))
        leptons = sum(each.idAbs() in LEPTONS for each in products)
        if (len(products) - leptons, leptons) == (process.quarks, process.leptons):
            momenta = np.array([_momentum(each) for each in products])
            yield Truth(np.array(_momentum(found)), momenta, found.id())


def _products(event: Any, index: int) -> Iterator[Any]:
    """Yield the quarks, gluons and charged leptons that a resonance decays to, W by W."""
    for daughter in event[event[index].iBotCopyId()].daughterList():
        particle = event[daughter]
        if particle.idAbs() in {W, Z}:
            yield from _products(event, daughter)
        elif particle.idAbs() in {*QUARKS, *LEPTONS, 21}:
            yield particle


def _momentum(particle: Any) -> tuple[float, float, float, float]:
    return particle.px(), particle.py(), particle.pz(), particle.e()
