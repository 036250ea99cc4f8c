"""Charged particles of several events, and the class of each for particle identification.

Axes: N particles of all events.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Doubles, Integers, Mask

# TPCpp-10M (doi:10.5281/zenodo.16970029): noise is a secondary below 60 MeV/c.
NOISE_BELOW_GEV = 0.060
TOP_QUARK = 6  # the highest PDG code of a quark
PID_CLASSES = {211: 1, 321: 2, 2212: 3, 11: 4}
# The truth of each point: `track_id`, unique in its event, negative for particles made in material,
# 0 for noise; `pid`, 0 other, 1 pion, 2 kaon, 3 proton, 4 electron; `noise`; `pt_gev`, the true
# transverse momentum, 0 where unknown.
LABELS: dict[str, Any] = {
    "track_id": np.int32,
    "pid": np.int8,
    "noise": np.bool_,
    "pt_gev": np.float32,
}


@dataclass(frozen=True)
class Particles:
    """Charged particles, sorted by event; `momentum` (N, 3) in GeV/c, `vertex` (N, 3) in cm.

    `track_id` is positive for what the generator made and negative for what material made, as in
    Geant4 under sPHENIX; `mass` is in GeV/c².
    """

    event: Integers
    track_id: npt.NDArray[np.int32]
    pdg: npt.NDArray[np.int32]
    charge: npt.NDArray[np.int32]
    mass: Doubles
    momentum: Doubles
    vertex: Doubles

    def __len__(self) -> int:
        return len(self.event)

    @property
    def pt_gev(self) -> Doubles:
        """The transverse momentum, (N)."""
        return np.hypot(self.momentum[:, 0], self.momentum[:, 1])

    @property
    def energy_gev(self) -> Doubles:
        """The total energy, (N)."""
        energy: Doubles = np.sqrt((self.momentum**2).sum(axis=1) + self.mass**2)
        return energy

    def take(self, rows: Array) -> "Particles":
        """Return the particles at `rows`, an index or a mask."""
        return Particles(*(getattr(self, each.name)[rows] for each in fields(self)))

    def joined(self, other: "Particles") -> "Particles":
        """Return these particles, then those of `other`, sorted by neither."""
        return Particles(
            *(
                np.concatenate([getattr(self, each.name), getattr(other, each.name)])
                for each in fields(self)
            )
        )


def pid_class(pdg: Array) -> npt.NDArray[np.int8]:
    """Return the class of each PDG code: 0 other, 1 pion, 2 kaon, 3 proton, 4 electron.

    Raises:
        BadInput: A code is a quark's, which no detector sees: these are classes already. Classed a
            second time, all would be 0.
    """
    if np.any((pdg != 0) & (np.abs(pdg) <= TOP_QUARK)):
        found = np.unique(pdg[np.abs(pdg) <= TOP_QUARK]).tolist()
        message = f"pid: {found} are classes already (or quarks); expected PDG codes, as 211."
        raise BadInput(message)
    classes = np.zeros(len(pdg), np.int8)
    for code, number in PID_CLASSES.items():
        classes[np.abs(pdg) == code] = number
    return classes


def is_noise(track_id: Array, pt_gev: Array) -> Mask:
    """Return whether each is noise: unmatched (id 0), or a secondary below 60 MeV/c."""
    noise: Mask = (track_id == 0) | ((track_id < 0) & (pt_gev < NOISE_BELOW_GEV))
    return noise


def secondary_ids(event: Integers, first: int) -> npt.NDArray[np.int32]:
    """Return ids counting down from `-first` within each event of the sorted `event` (N)."""
    begins = np.searchsorted(event, event)
    return (begins - np.arange(len(event)) - first).astype(np.int32)


def labels_of(
    row: Integers, *, track_id: Array, pdg: Array, px: Array, py: Array
) -> dict[str, Array]:
    """Return the labels of points made by the particles `row` (P) of a table; -1 is nobody."""
    known = row >= 0
    ids, codes, pt_gev = (np.zeros(len(row), kind) for kind in (np.int32, np.int32, np.float32))
    ids[known] = track_id[row[known]]
    codes[known] = pdg[row[known]]
    pt_gev[known] = np.hypot(px.astype(np.float32), py.astype(np.float32))[row[known]]
    noise = is_noise(ids, pt_gev)
    return {
        "track_id": np.where(noise, 0, ids).astype(np.int32),
        "pid": pid_class(codes),
        "noise": noise,
        "pt_gev": pt_gev,
    }
