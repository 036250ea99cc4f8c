"""What is measured of jets that are known by their constituents, relative to the jet's axis.

A jet is the sum of massless constituents at Δη and Δφ from the axis, which is taken as η = φ = 0:
so the mass is that in the frame in which the axis is transverse to the beam, the same for all jets
at small angles, and η and φ of a jet are offsets of its momentum from the axis. Axes: J jets, P
constituents.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.inputs import check_rows

Floats = NDArray[np.float64]
OF_JETS = ("jet_pt", "jet_eta", "jet_phi", "jet_mass", "multiplicity")
OF_SHAPES = ("tau21", "tau32", "d2")
OF_CONSTITUENTS = ("constituent_pt", "constituent_deta", "constituent_dphi")
UNITS = {"jet_pt": "GeV", "jet_mass": "GeV", "jet_phi": "rad", "constituent_pt": "GeV"}
UNITS |= {"constituent_dphi": "rad"}
RADIUS = 0.8  # of the jets of JetClass


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
    sizes = _sizes(offsets)
    pt, deta, dphi = (np.asarray(each, np.float64) for each in (pt, deta, dphi))
    parts = _momenta(pt, deta, dphi)
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


def shapes(
    pt: NDArray[np.floating],
    deta: NDArray[np.floating],
    dphi: NDArray[np.floating],
    offsets: NDArray[np.int64],
) -> dict[str, Floats]:
    """Return OF_SHAPES (J each) of jets with constituents (P each), as fastjet-contrib has them.

    τ21 = τ2/τ1 and τ32 = τ3/τ2 of N-subjettiness with β = 1 and R = 0.8, whose axes are the
    exclusive kt jets (Thaler, Van Tilburg, arXiv:1011.2268, eq. 1); a jet of no more constituents
    than axes has τ = 0. D2 = e3/e2³ of energy correlations with β = 1 (Larkoski, Moult, Neill,
    arXiv:1409.6298, eq. 6). Distances are in rapidity and azimuth. NaN for 0/0.

    Args:
        pt: (P,) in GeV.
        deta: (P,) from any axis.
        dphi: (P,) likewise, in radians.
        offsets: (J+1,) jet j owns the rows offsets[j] to offsets[j + 1].

    Raises:
        ValueError: A jet has no constituent, or one has no transverse momentum.
    """
    _sizes(offsets)
    check_rows("pt", np.isfinite(pt) & (pt > 0), pt, "GeV above zero")
    doubles = [np.asarray(each, np.float64) for each in (pt, deta, dphi)]
    jets = _clustered(_momenta(*doubles), offsets)
    measure = {"measure_definition": "NormalizedMeasure", "axes_definition": "KT_Axes"}
    tau = jets.njettiness(**measure, njets=[1, 2, 3], beta=1.0, R0=RADIUS).to_numpy()
    d2 = jets.exclusive_jets_energy_correlator(njets=1, beta=1.0, func="d2").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"tau21": tau[:, 1] / tau[:, 0], "tau32": tau[:, 2] / tau[:, 1], "d2": d2}


def _clustered(momenta: Sequence[Floats], offsets: NDArray[np.int64]) -> Any:
    """Return the sequences that join the constituents of each jet, px to E (P each), to one."""
    import awkward as ak
    import fastjet

    columns = dict(zip(("px", "py", "pz", "E"), momenta, strict=True))
    index = ak.index.Index64(np.asarray(offsets, np.int64))
    jagged = ak.contents.ListOffsetArray(index, ak.zip(columns).layout)
    largest = fastjet.JetDefinition.max_allowable_R
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, largest)
    return fastjet.ClusterSequence(ak.Array(jagged), definition)


def _momenta(pt: Floats, deta: Floats, dphi: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return px, py, pz and E (P each) of massless constituents."""
    return pt * np.cos(dphi), pt * np.sin(dphi), pt * np.sinh(deta), pt * np.cosh(deta)


def _sizes(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number (J) of constituents of each jet."""
    sizes = np.diff(offsets)
    if (sizes < 1).any():
        message = f"jet {int(np.argmin(sizes))} has no constituent"
        raise ValueError(message)
    return sizes
