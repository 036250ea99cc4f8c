"""What is measured of jets that are known by their constituents, relative to the jet's axis.

A jet is the sum of massless constituents at Δη and Δφ from the axis, which is taken as η = φ = 0:
so the mass is that in the frame in which the axis is transverse to the beam, the same for all jets
at small angles, and η and φ of a jet are offsets of its momentum from the axis. Axes: J jets, P
constituents.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
OF_JETS = ("jet_pt", "jet_eta", "jet_phi", "jet_mass", "multiplicity")
OF_CONSTITUENTS = ("constituent_pt", "constituent_deta", "constituent_dphi")
UNITS = {"jet_pt": "GeV", "jet_mass": "GeV", "jet_phi": "rad", "constituent_pt": "GeV"}
UNITS |= {"constituent_dphi": "rad"}


def observables(
    pt: NDArray[np.floating],
    deta: NDArray[np.floating],
    dphi: NDArray[np.floating],
    offsets: NDArray[np.int64],
) -> dict[str, Floats]:
    """Return OF_JETS (J each) and OF_CONSTITUENTS (P each) of jets with constituents (P each).

    pt in GeV. Jet j owns the rows offsets[j] to offsets[j + 1]; none may be empty.

    Raises:
        ValueError: A jet has no constituent.
    """
    sizes = np.diff(offsets)
    if (sizes < 1).any():
        message = f"jet {int(np.argmin(sizes))} has no constituent"
        raise ValueError(message)
    pt, deta, dphi = (np.asarray(each, np.float64) for each in (pt, deta, dphi))
    parts = (pt * np.cos(dphi), pt * np.sin(dphi), pt * np.sinh(deta), pt * np.cosh(deta))
    px, py, pz, energy = (np.add.reduceat(each, offsets[:-1]) for each in parts)
    jet_pt = np.hypot(px, py)
    return {
        "jet_pt": jet_pt,
        "jet_eta": np.arcsinh(pz / jet_pt),
        "jet_phi": np.arctan2(py, px),
        "jet_mass": np.sqrt(np.maximum(energy**2 - jet_pt**2 - pz**2, 0)),
        "multiplicity": sizes.astype(np.float64),
        "constituent_pt": pt,
        "constituent_deta": deta,
        "constituent_dphi": dphi,
    }
