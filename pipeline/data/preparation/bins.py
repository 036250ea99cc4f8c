"""The voxels that order an event: fitted once on training data, stored, and never refitted."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Doubles, Floats, Integers
from pipeline.outcome import RunError
from pipeline.writing import read_json, write_json

VERSION = 2
LETTERS = {"E": 0, "P": 1, "R": 2}


@dataclass(frozen=True)
class Bins:
    """Edges of the bins in the three axes, each from 0 to 1, and the sample they were fitted on.

    `source` names the file, `source_sha256` its content, `points` how many points were taken.
    """

    edges: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    source: str
    source_sha256: str
    points: int

    def indices(self, position: Floats) -> Integers:
        """Return the bins (P, 3) of normalised `position` (P, 3); what lies outside is clipped."""
        columns = [
            np.searchsorted(np.asarray(edges[1:-1]), position[:, axis], side="right")
            for axis, edges in enumerate(self.edges)
        ]
        return np.stack(columns, axis=1)

    def groups(self, position: Floats, order: str) -> Integers:
        """Return the voxel number (P) of `position` (P, 3); `order` names axes, slow to fast.

        E, P and R are the first, second and third axis: eta, phi and r of a tracking chamber.
        """
        counts = [len(edges) - 1 for edges in self.edges]
        axes = [LETTERS[letter] for letter in order]
        indices = self.indices(position)
        return np.ravel_multi_index(
            tuple(indices[:, axis] for axis in axes), tuple(counts[axis] for axis in axes)
        ).astype(np.int64)

    def write(self, path: Path) -> None:
        """Write the bins to `path`, whole or not at all."""
        content = {"version": VERSION, **asdict(self)}
        write_json(path, {**content, "sha256": _seal(content)})


def fit_bins(
    position: Floats,
    counts: tuple[int, int, int],
    *,
    limits: tuple[float, ...] = (),
    source: str,
    source_sha256: str,
) -> Bins:
    """Return bins of normalised `position` (P, 3): `counts` equal-count bins in the three axes.

    The bins in the third axis are shared evenly by the groups between `limits` (FM4NPP's "bins
    v3", where these are the gaps between groups of pad rows).

    Raises:
        BadInput: The third count is no multiple of the groups, or a group has no point.
    """
    groups = len(limits) + 1
    if counts[2] % groups:
        message = (
            f"bins {counts}: the third must be a multiple of {groups}, one share for each group "
            "of pad rows."
        )
        raise BadInput(message)
    ends = [0.0, *limits, 1.0]
    group = np.searchsorted(np.asarray(limits), position[:, 2])
    third = [0.0]
    for number in range(groups):
        inside = position[group == number, 2]
        if not len(inside):
            message = (
                f"{source}: no point in group {number + 1} of {groups} of the third axis, so no "
                "bins can be fitted. Put a larger file first in split train."
            )
            raise BadInput(message)
        inner = _quantiles(inside, counts[2] // groups)[1:-1]
        third += [*inner.tolist(), ends[number + 1]]
    first, second = (_quantiles(position[:, axis], counts[axis]) for axis in (0, 1))
    edges = (_closed(first), _closed(second), tuple(third))
    return Bins(edges, source, source_sha256, len(position))


def _quantiles(values: Floats, count: int) -> Doubles:
    """Return the edges (count + 1) that give each of `count` bins the same number of `values`."""
    return np.quantile(values.astype(np.float64), np.linspace(0, 1, count + 1))


def _closed(edges: Doubles) -> tuple[float, ...]:
    """Return `edges` with the ends at 0 and 1."""
    return (0.0, *edges[1:-1].tolist(), 1.0)


def read_bins(path: Path) -> Bins:
    """Return the bins stored in `path`.

    Raises:
        BadInput: They are not there, as they are fitted when their store is begun and only then;
            or the file is damaged.
    """
    try:
        value = read_json(path)
    except (RunError, UnicodeDecodeError) as error:
        message = f"{path}: damaged ({error}). Bins are never fitted again: restore the file."
        raise BadInput(message) from error
    if value is None:
        message = (
            f"{path}: no voxel bins here. They are fitted once, by --begin of the stage task that "
            "owns this store; run that first. Bins fitted anew would not fit trained models."
        )
        raise BadInput(message)
    expected = {"version", "edges", "source", "source_sha256", "points", "sha256"}
    if set(value) != expected or value["version"] != VERSION:
        message = (
            f"{path}: not voxel bins of version {VERSION}; expected the keys "
            f"{', '.join(sorted(expected))}. Stage the store anew with this version."
        )
        raise BadInput(message)
    if value.pop("sha256") != _seal(value):
        message = (
            f"{path}: not what was written (SHA-256 differs). Bins are never fitted again: "
            "restore the file."
        )
        raise BadInput(message)
    first, second, third = (tuple(each) for each in value["edges"])
    return Bins((first, second, third), value["source"], value["source_sha256"], value["points"])


def _seal(content: dict[str, Any]) -> str:
    """Return the hash of what bins say, so that a changed value is found where it is read."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
