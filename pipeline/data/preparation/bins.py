"""The voxels that order an event: fitted once on training data, stored, and never refitted."""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Doubles, Floats, Integers
from pipeline.outcome import RunError
from pipeline.writing import read_json, write_json

VERSION = 3
LETTERS = {"E": 0, "P": 1, "R": 2}


@dataclass(frozen=True)
class Bins:
    """Edges of the bins in the three axes, and the sample they were fitted on.

    A value on an edge belongs to the bin below, and edges are compared in float32, as in FM4NPP's
    code (fm4npp/datasets/voxelizer.py of github.com/FM4NPP/PP_collision at c35ade1).
    `source` names the file, `source_sha256` its content, `points` how many points were taken.
    """

    edges: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    source: str
    source_sha256: str
    points: int

    def indices(self, position: Floats) -> Integers:
        """Return the bins (P, 3) of normalised `position` (P, 3); outside is the nearest bin."""
        columns = [
            np.searchsorted(np.asarray(edges[1:-1], np.float32), position[:, axis])
            for axis, edges in enumerate(self.edges)
        ]
        return np.stack(columns, axis=1)

    def groups(self, position: Floats, order: str) -> Integers:
        """Return the voxel number (P) of `position` (P, 3); `order` names axes, fast to slow.

        E, P and R are the first, second and third axis: eta, phi and r of a tracking chamber. In
        the order REP voxels follow each other along r first, then along eta, and last along phi.
        """
        counts = [len(edges) - 1 for edges in self.edges]
        axes = [LETTERS[letter] for letter in reversed(order)]
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

    Edges of the first two axes end at 0 and 1. The bins in the third axis are shared evenly by the
    groups between `limits` (FM4NPP's "bins v3", where these are the gaps between groups of pad
    rows): edges between groups are in the middle of a gap, the outer ones at the least and the
    largest value.

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
    group = np.searchsorted(np.asarray(limits), position[:, 2])
    thirds = [np.sort(position[group == number, 2].astype(np.float64)) for number in range(groups)]
    for number, inside in enumerate(thirds):
        if not len(inside):
            message = (
                f"{source}: no point in group {number + 1} of {groups} of the third axis, so no "
                "bins can be fitted. Put a larger file first in split train."
            )
            raise BadInput(message)
    first, second = (
        (0.0, *_inner(np.sort(position[:, axis].astype(np.float64)), counts[axis]), 1.0)
        for axis in (0, 1)
    )
    edges = (first, second, _grouped(thirds, counts[2] // groups))
    return Bins(edges, source, source_sha256, len(position))


def _grouped(groups: list[Doubles], count: int) -> tuple[float, ...]:
    """Return the edges of `count` bins in each of `groups`, whose values are sorted.

    The values of a group are those between its ends: the least and the largest are not counted.
    """
    between = [float(inner[-1] + outer[0]) / 2 for inner, outer in pairwise(groups)]
    ends = [float(groups[0][0]), *between, float(groups[-1][-1])]
    edges = [ends[0]]
    for values, (low, high) in zip(groups, pairwise(ends), strict=True):
        inside = values[(values > low) & (values < high)]
        edges += [*_inner(inside if len(inside) else values, count), high]
    return tuple(edges)


def _inner(values: Doubles, count: int) -> tuple[float, ...]:
    """Return the edges between `count` bins of as many sorted `values`, at the ranks n i / count.

    Ranks count from 0, so they are those of FM4NPP's code and not numpy's (n - 1) i / count.
    """
    ranks = len(values) * np.arange(1, count) / count
    return tuple(np.interp(ranks, np.arange(len(values)), values).tolist())


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
