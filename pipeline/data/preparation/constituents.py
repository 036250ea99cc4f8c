"""Constituents as tokenizers take them: three features, cut, shortened, and by falling pT.

The cut is made here and nowhere else: in tokenising, on the way from a store of jets to the
tokenizer, in its training and in the writing of its store alike. What is cut is counted, and a
store of tokens holds no trace of it but the counts (`rejected` of its manifest).

Features and constants of OmniJet-alpha (arXiv:2403.05618, §2): ln(pT / GeV) - 1.8, 3 Δη, 3 Δφ;
|Δη| and |Δφ| below 0.8; at most 128 constituents. As in its code, the axis is the sum of momenta
of all constituents, before any is cut, and Δη is not mirrored for jets that lie backward. Axes: E
jets, J jets that are left, P constituents, Q constituents that are left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Array, Doubles, Floats, Integers, Mask, offsets_of
from pipeline.data.experiment import Column
from pipeline.families.tokenizer import FEATURES, MOST_CONSTITUENTS

# Columns that say what is needed of a constituent: JetClass's, and OmniLearned's.
NEEDED = (("px", "py", "pz", "energy"), ("log_pt", "deta", "dphi"))
WIDEST = 0.8
_FACTOR = "OmniJet-alpha: (value - offset) / scale is the feature"
COLUMNS = (
    Column(name=FEATURES[0], unit="ln GeV", offset=1.8, scale=1.0, provenance=_FACTOR),
    Column(name=FEATURES[1], unit="1", offset=0.0, scale=1 / 3, provenance=_FACTOR),
    Column(name=FEATURES[2], unit="rad", offset=0.0, scale=1 / 3, provenance=_FACTOR),
)


@dataclass(frozen=True)
class Constituents:
    """What is left: points (Q, 3) of `COLUMNS` in physical units, offsets (J + 1), jets kept (E).

    `rows` (Q) are where each stood among all constituents.
    `cut` counts what is not: constituents `wide` of the axis or `without_momentum`, those
    `beyond_128`, and jets of which nothing is left, `empty`.
    """

    points: Floats
    offsets: Integers
    rows: Integers
    kept: Mask
    cut: dict[str, int]


def needed(known: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to read of a store that has those `known`."""
    return next((names for names in NEEDED if set(names) <= set(known)), NEEDED[0])


def constituents(points: Array, offsets: Array) -> Constituents:
    """Return what a tokenizer takes of points (P, 4) or (P, 3), of either columns `NEEDED`.

    Momenta and energies in GeV; or ln(pT / GeV), and Δη and Δφ to the axis. Jet e owns the rows
    offsets[e] to offsets[e + 1].
    """
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    values = np.asarray(points, np.float64)
    if values.shape[1] == len(NEEDED[0]):
        pt, deta, dphi = _to_axis(values[:, :3], event, len(offsets) - 1)
    else:
        pt, deta, dphi = np.exp(values[:, 0]), values[:, 1], values[:, 2]
    narrow = (np.abs(deta) < WIDEST) & (np.abs(dphi) < WIDEST)
    rows = np.flatnonzero(narrow & (pt > 0))
    rows = rows[np.lexsort((-pt[rows], event[rows]))]
    owner = event[rows]
    rank = np.arange(len(rows)) - np.searchsorted(owner, owner)
    hard = rank < MOST_CONSTITUENTS
    sizes = np.bincount(owner[hard], minlength=len(offsets) - 1)
    rows = rows[hard]
    found = np.stack([np.log(pt[rows]), deta[rows], dphi[rows]], 1)
    return Constituents(
        points=found.astype(np.float32),
        offsets=offsets_of(sizes[sizes > 0]),
        rows=rows,
        kept=sizes > 0,
        cut={
            "wide": int((~narrow).sum()),
            "without_momentum": int((narrow & (pt <= 0)).sum()),
            "beyond_128": int((~hard).sum()),
            "empty": int((sizes == 0).sum()),
        },
    )


def _to_axis(momentum: Doubles, event: Integers, jets: int) -> tuple[Doubles, Doubles, Doubles]:
    """Return pT, Δη and Δφ in [-π, π) (P each) of `momentum` (P, 3) to the sum of its jet's.

    Where there is no pT, Δη and Δφ are 0; where the axis has none, Δη is NaN.
    """
    total = np.stack([np.bincount(event, each, jets) for each in momentum.T], 1)
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        deta = np.arcsinh(momentum[:, 2] / pt)
        deta -= np.arcsinh(total[:, 2] / np.hypot(total[:, 0], total[:, 1]))[event]
    phi, axis = (np.arctan2(each[:, 1], each[:, 0]) for each in (momentum, total))
    dphi = (phi - axis[event] + np.pi) % (2 * np.pi) - np.pi
    return pt, np.where(pt > 0, deta, 0.0), np.where(pt > 0, dphi, 0.0)
