"""What Particle Transformer takes of a particle, from the arrays that a store of jets holds.

The 17 inputs `full` of Qu, Li, Qian, arXiv:2202.03772, table 2, and the choices `kinpid` (13) and
`kin` (7), standardised with the constants of jet-universe/particle_transformer,
data/JetClass/JetClass_full.yaml: (value - centre) × scale, clipped. Axes: P particles, E jets.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.data.events import Array, Floats, Integers
from pipeline.data.experiments.jetclass import COLUMN_NAMES, SPECIES

Choice = Literal["full", "kinpid", "kin"]


@dataclass(frozen=True)
class Standard:
    """How an input is standardised; the limits are of the result, those of weaver by default."""

    centre: float
    scale: float
    low: float = -5.0
    high: float = 5.0

    def __call__(self, values: Floats) -> Floats:
        """Return `values` standardised."""
        scaled: Floats = np.clip((values - self.centre) * self.scale, self.low, self.high)
        return scaled


KINEMATICS = ("pt_log", "e_log", "logptrel", "logerel", "deltaR")
IDENTITY = ("charge", *(f"is{name}" for name in SPECIES))
IMPACT = ("d0", "d0err", "dz", "dzerr")
PLACE = ("deta", "dphi")
CHOICES: dict[Choice, tuple[str, ...]] = {
    "full": (*KINEMATICS, *IDENTITY, *IMPACT, *PLACE),
    "kinpid": (*KINEMATICS, *IDENTITY, *PLACE),
    "kin": (*KINEMATICS, *PLACE),
}
STANDARDS = {
    "pt_log": Standard(1.7, 0.7),
    "e_log": Standard(2.0, 0.7),
    "logptrel": Standard(-4.7, 0.7),
    "logerel": Standard(-4.7, 0.7),
    "deltaR": Standard(0.2, 4.0),
    "d0err": Standard(0.0, 1.0, 0.0, 1.0),
    "dzerr": Standard(0.0, 1.0, 0.0, 1.0),
}


def inputs(
    points: Floats,
    offsets: Integers,
    *,
    charge: Array,
    species: Array,
    jet: Floats,
    choice: Choice = "full",
) -> Floats:
    """Return the inputs (P, 17), (P, 13) or (P, 7), in the order of CHOICES[choice].

    `points` (P, 10) are the columns of the experiment jetclass; `charge` (P), `species` (P, 5) and
    `jet` (E, 4) its arrays; jet e owns the rows offsets[e] to offsets[e + 1].
    """
    of = {name: points[:, column] for column, name in enumerate(COLUMN_NAMES)}
    pt, energy = np.hypot(of["px"], of["py"]), of["energy"]
    jet_pt, jet_energy = np.repeat(jet[:, (0, 3)], np.diff(offsets), axis=0).T
    with np.errstate(divide="ignore"):  # a particle of no energy: the clip makes it finite
        values: dict[str, Array] = {
            "pt_log": np.log(pt),
            "e_log": np.log(energy),
            "logptrel": np.log(pt / jet_pt),
            "logerel": np.log(energy / jet_energy),
            "deltaR": np.hypot(of["deta"], of["dphi"]),
            "charge": charge,
            **{f"is{name}": species[:, column] for column, name in enumerate(SPECIES)},
            "d0": np.tanh(of["d0val"]),
            "d0err": of["d0err"],
            "dz": np.tanh(of["dzval"]),
            "dzerr": of["dzerr"],
            "deta": of["deta"],
            "dphi": of["dphi"],
        }
    found = np.empty((len(points), len(CHOICES[choice])), np.float32)
    for column, name in enumerate(CHOICES[choice]):
        standard = STANDARDS.get(name)
        found[:, column] = standard(values[name]) if standard else values[name]
    return found
