"""A folder of reference outputs of a published system: `case.json`, `case.npz` and weights."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.nn import published
from pipeline.nn.published import Entry

FLOOR = 2e-6  # no float32 implementation is held to less


@dataclass(frozen=True)
class Case:
    """One folder; what is in it is described by its own `case.json`."""

    path: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """What `case.json` says."""
        about: dict[str, Any] = json.loads((self.path / "case.json").read_text())
        return about

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The inputs and outputs, by name; none where the folder has facts alone."""
        if not (self.path / "case.npz").is_file():
            return {}
        with np.load(self.path / "case.npz", allow_pickle=False) as archive:
            return dict(archive)

    @property
    def configuration(self) -> dict[str, Any]:
        """The settings of the published model."""
        configuration: dict[str, Any] = self.about["configuration"]
        return configuration

    @cached_property
    def weights(self) -> dict[str, Any]:
        """The weights, by the authors' names."""
        files = [*self.path.glob("weights.*")]
        return published.read(files[0])

    def tolerance(self, name: str) -> float:
        """Return the largest difference over the largest value that an array may have."""
        given = self.about["tolerance"]
        general = [value for key, value in given.items() if key.startswith("relative")]
        return max(float(given.get(name, min(general, default=FLOOR))), FLOOR)


@dataclass(frozen=True)
class Row:
    """How one array compares."""

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.difference <= self.tolerance


def compared(
    case: Case,
    name: str,
    ours: Any,
    *,
    where: NDArray[np.bool_] | None = None,
    tolerance: float | None = None,
) -> Row:
    """Return how `ours` compares with the array `name` of `case`, or with what it has `where`."""
    array = case.arrays[name]
    reference = np.asarray(array if where is None else array[where], np.float64)
    found = np.asarray(ours, np.float64)
    if found.shape != reference.shape:
        return Row(name, float("nan"), 0.0)
    scale = float(np.abs(reference).max(initial=0.0)) or 1.0
    difference = float(np.abs(found - reference).max(initial=0.0)) / scale
    return Row(name, difference, case.tolerance(name) if tolerance is None else tolerance)


def compared_graph(case: Case, name: str, ours: Tensor, space: Tensor) -> Row:
    """Return how edges (2, E), in any order, compare with the array `name` of the case.

    Where a point has other neighbours they are compared by distance in `space` (P, D): those at the
    same distance may be exchanged.
    """
    theirs = torch.from_numpy(case.arrays[name])
    if ours.shape != theirs.shape:
        return Row(name, float("nan"), 0.0)
    ours, theirs = (each[:, np.lexsort(each.numpy())] for each in (ours, theirs))
    if torch.equal(ours, theirs):
        return Row(name, 0.0, case.tolerance(name))
    if not torch.equal(ours[1], theirs[1]):
        return Row(name, float("nan"), 0.0)
    lengths = [(space[each[0]] - space[each[1]]).double().norm(dim=1) for each in (ours, theirs)]
    first, second = (each[np.lexsort((each, ours[1]))] for each in lengths)
    return Row(name, float((first - second).abs().max() / first.max()), case.tolerance(name))


def gradient_norms(module: nn.Module, entries: Iterable[Entry]) -> dict[str, float]:
    """Return the norm of each parameter's gradient, by the authors' name; none where there is none.

    Of what ours holds in one and theirs in several, each has the norm of its part.
    """
    gradients = {name: each.grad for name, each in module.named_parameters()}
    found = {}
    for entry in entries:
        gradient = gradients.get(entry.ours)
        if gradient is not None:
            parts = zip(entry.names, entry.exported(gradient.double()), strict=True)
            found |= {name: float(part.norm()) for name, part in parts}
    return found


def compared_gradients(
    case: Case,
    names: str,
    norms: str,
    found: Mapping[str, float],
    *,
    tolerance: float | None = None,
) -> Row:
    """Return how the norms of gradients compare; `names` and `norms` are arrays of the case.

    Raises:
        AssertionError: The case has the gradient of a parameter that ours does not have.
    """
    theirs = [str(name) for name in case.arrays[names]]
    missing = [name for name in theirs if name not in found]
    assert not missing, f"{case.path}: no gradient of {', '.join(missing)}"
    return compared(case, norms, [found[name] for name in theirs], tolerance=tolerance)
