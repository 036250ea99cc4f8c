"""The voxels that order an event: fitted once on training data, stored, and never refitted."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.data.coordinates import SPHENIX
from pipeline.data.errors import BadInput
from pipeline.data.events import Doubles, Floats, Integers
from pipeline.run import read_json, write_json

# The gaps between the TPC's three groups of pad rows.
GROUP_LIMITS_CM = (40.0, 57.0)
AXES = {"E": 0, "P": 1, "R": 2}


@dataclass(frozen=True)
class Bins:
    """Edges of the bins in normalised eta, phi and r; each runs from 0 to 1."""

    eta: tuple[float, ...]
    phi: tuple[float, ...]
    r: tuple[float, ...]

    def indices(self, points: Floats) -> Integers:
        """Return the bins (P, 3) of normalised `points` (P, 3); what lies outside is clipped."""
        inner = (np.asarray(edges[1:-1]) for edges in (self.eta, self.phi, self.r))
        columns = [
            np.searchsorted(edges, points[:, axis], side="right")
            for axis, edges in enumerate(inner)
        ]
        return np.stack(columns, axis=1)

    def groups(self, points: Floats, order: str) -> Integers:
        """Return the voxel number (P) of `points` (P, 3): `order` names axes from slow to fast."""
        if order == "none":
            return np.zeros(len(points), np.int64)
        counts = [len(edges) - 1 for edges in (self.eta, self.phi, self.r)]
        axes = [AXES[letter] for letter in order]
        indices = self.indices(points)
        return np.ravel_multi_index(
            tuple(indices[:, axis] for axis in axes), tuple(counts[axis] for axis in axes)
        ).astype(np.int64)

    def write(self, path: Path) -> None:
        """Write the bins to `path`, whole or not at all."""
        write_json(path, asdict(self))


def fit_bins(points: Floats, counts: tuple[int, int, int], *, source: str) -> Bins:
    """Return bins of normalised `points` (P, 3): `counts` equal-count bins in eta, phi and r.

    The bins in r are shared evenly by the three groups of pad rows (FM4NPP's "bins v3").

    Raises:
        BadInput: The bins in r do not divide by three, or a group of pad rows has no point.
    """
    if counts[2] % 3:
        message = f"bins {counts}: the third must be a multiple of 3, one share per pad-row group."
        raise BadInput(message)
    limits = (np.array(GROUP_LIMITS_CM) - SPHENIX.offset[3]) / SPHENIX.scale[3]
    ends = [0.0, *limits.tolist(), 1.0]
    group = np.searchsorted(limits, points[:, 2])
    edges = [0.0]
    for number in range(3):
        inside = points[group == number, 2]
        if not len(inside):
            message = (
                f"{source}: no point in pad-row group {number + 1} of 3, so no bins can be fitted. "
                "Put a larger file first in split train."
            )
            raise BadInput(message)
        edges += [*_quantiles(inside, counts[2] // 3)[1:-1].tolist(), ends[number + 1]]
    eta, phi = (_quantiles(points[:, axis], counts[axis]) for axis in (0, 1))
    return Bins(_closed(eta), _closed(phi), tuple(edges))


def _quantiles(values: Floats, count: int) -> Doubles:
    """Return the edges (count + 1) that give each of `count` bins the same number of `values`."""
    return np.quantile(values.astype(np.float64), np.linspace(0, 1, count + 1))


def _closed(edges: Doubles) -> tuple[float, ...]:
    """Return `edges` with the ends at 0 and 1."""
    return (0.0, *edges[1:-1].tolist(), 1.0)


def read_bins(path: Path) -> Bins:
    """Return the bins stored in `path`.

    Raises:
        BadInput: They are not there: they are fitted when their store is begun, and only then.
    """
    value = read_json(path)
    if value is None or set(value) != {"eta", "phi", "r"}:
        message = (
            f"{path}: no voxel bins here. They are fitted once, by --begin of the stage task that "
            "owns this store; run that first. Bins fitted anew would not fit trained models."
        )
        raise BadInput(message)
    return Bins(**{axis: tuple(edges) for axis, edges in value.items()})
