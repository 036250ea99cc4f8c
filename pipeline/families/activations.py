"""Bytes that the forward and backward pass of a model need beside its weights and gradients.

A family that says so has two files in its folder: `activations.py`, whose function `terms` returns
what those bytes grow with, and `activations.toml`, the bytes for each, which `python -m
tests.memory` counts on a CPU (docs/add-a-model.md). Neither needs torch.
"""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.precision import Precision

if TYPE_CHECKING:
    from pipeline.families.family import Family

Terms = Mapping[str, float]
Table = Mapping[str, tuple[float, ...]]
TABLES = "activations.toml"


@dataclass(frozen=True)
class Taken:
    """The events that a process takes forward at once: how many, of how many points in all.

    `longest` is the number of points of the longest event, `squares` the sum over events of the
    square of their number of points: what all pairs in an event grow with. `kernels` are those
    that a device computes scans with.
    """

    events: float
    points: float
    longest: float
    squares: float
    kernels: bool = False

    @property
    def mean(self) -> float:
        """The mean number of points of an event."""
        return self.points / self.events


@dataclass(frozen=True)
class Growth:
    """What the memory of a forward pass grows with, each a number without unit, by name.

    `blocks` are the repeated parts in their order, whose activations activation checkpointing
    computes again: how many there are of each kind, and the terms of one. `rest` is all else: the
    embedding, the heads, the loss.
    """

    rest: Terms
    blocks: tuple[tuple[float, Terms], ...] = ()


@dataclass(frozen=True)
class Bytes:
    """Bytes of each unit of a term, in four columns: two as usual, two with blocks computed again.

    They are those kept until the backward pass, and those needed at its peak beside them: of
    `rest` by the loss, of `blocks` by the backward pass of one of them. A fifth column of `rest`
    are those at a peak of the forward pass, before all is kept.
    """

    rest: Table
    blocks: Table

    def covers(self, growth: Growth) -> bool:
        """Whether the bytes of all terms that are not zero are known."""
        within = {name for _, terms in growth.blocks for name, each in terms.items() if each}
        return {n for n, each in growth.rest.items() if each} <= {*self.rest} and within <= {
            *self.blocks
        }


@dataclass(frozen=True)
class Activations:
    """Bytes beside weights, gradients and the optimiser's states: `kept`, and at the `peak`."""

    kept: float
    peak: float


def predicted(growth: Growth, counted: Bytes, *, again: bool = False) -> Activations:
    """Return the bytes of a pass over what `growth` is of, computed with blocks `again` or not.

    The peak is the largest of: the loss, when all is kept; the backward pass of a block, when the
    blocks behind it are done with; a step of the forward pass that needs more than it keeps.
    """
    rest, blocks = counted.rest, counted.blocks
    kept_in, peak_in = (2, 3) if again else (0, 1)
    outside = _sum(growth.rest, rest, kept_in)
    present = [(count, terms) for count, terms in growth.blocks if count]
    kept = outside + sum(count * _sum(terms, blocks, kept_in) for count, terms in present)
    highest = max(_sum(growth.rest, rest, 4), kept + _sum(growth.rest, rest, peak_in))
    if again:  # of blocks only inputs are kept, which are there until the end
        needs = [_sum(terms, blocks, peak_in) for _, terms in present]
        return Activations(kept, max(highest, kept + max(needs, default=0.0)))
    until = outside
    for count, terms in present:
        until += count * _sum(terms, blocks, 0)
        highest = max(highest, until + _sum(terms, blocks, 1))
    return Activations(kept, highest)


def _sum(terms: Terms, table: Table, column: int) -> float:
    return sum(value * table[name][column] for name, value in terms.items() if value)


def activations(
    model: "Family", taken: Taken, precision: Precision, *, again: bool = False
) -> Activations | None:
    """Return the bytes of a pass of `model` over `taken`, None where they were not counted.

    tf32 keeps what fp32 does, and so at most does bf16 where it was not counted by itself. `again`
    computes blocks again.
    """
    module = model.beside("activations")
    if module is None:
        return None
    growth: Growth = module.terms(model, taken)
    named = _names(precision, kernels=taken.kernels)
    return _found(model, model.family, growth, named, again=again)


def of_head(
    task: Any, model: "Family", taken: Taken, precision: Precision, *, again: bool = False
) -> Activations | None:
    """Return the same of the head of a downstream task on the states of `model`, which it keeps."""
    module = task.beside("activations")
    if module is None:
        return None
    growth: Growth = module.terms(task, model, taken)
    return _found(task, task.task, growth, _names(precision, kernels=False), again=again)


def _names(precision: Precision, *, kernels: bool) -> list[str]:
    """Return the tables that hold, the best one first."""
    names = ["bf16", "fp32"] if precision == "bf16" else ["fp32"]
    return [f"{name}-kernels" for name in names if kernels] + names


def _found(
    declared: Any, of: str, growth: Growth, names: Sequence[str], *, again: bool
) -> Activations | None:
    """Return the bytes by the first of the tables `names` that has all terms, None without one."""
    module = sys.modules[type(declared).__module__]
    tables = _tables(Path(str(module.__file__)).with_name(TABLES)).get(of, {})
    counted = (tables[name] for name in names if name in tables)
    first = next((each for each in counted if each.covers(growth)), None)
    return None if first is None else predicted(growth, first, again=again)


@cache
def _tables(path: Path) -> Mapping[str, Mapping[str, Bytes]]:
    """Return the tables of each family in a file, by what they are of; none without the file."""
    content = tomllib.loads(path.read_text()) if path.is_file() else {}

    def table(values: Mapping[str, list[float]]) -> Table:
        return {name: tuple(each) for name, each in values.items()}

    return {
        family: {
            name: Bytes(**{k: table(v) for k, v in parts.items()}) for name, parts in of.items()
        }
        for family, of in content.items()
    }
