"""From counts of many small models to the bytes of each unit of a term.

What is kept is a sum over terms, so that least squares find it. A peak is the largest of several
sums: each count is given to the sum that is largest for it, and all are fitted again, until none
changes its place. No bytes are negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from memory.counting import Counts
from pipeline.families.activations import Bytes, Growth, Table

Vector = NDArray[np.float64]
STARTS, ROUNDS = 8, 40


@dataclass(frozen=True)
class Piece:
    """One of the sums whose largest is a peak: an offset, and terms of the unknown bytes."""

    offset: float
    terms: Vector


def fitted(grown: Sequence[Growth], counts: Sequence[Counts]) -> Bytes:
    """Return the bytes that give the `counts` of models that grow as `grown`."""
    rest = _names([growth.rest for growth in grown])
    blocks = _names([terms for growth in grown for _, terms in growth.blocks])
    outside = np.array([_values(growth.rest, rest) for growth in grown])
    inside = np.array([_inside(growth, blocks) for growth in grown]).reshape(len(grown), -1)
    kept = np.array([float(each.kept) for each in counts])
    found = _least(np.hstack([outside, inside]), kept, kept)
    of_rest, of_blocks = np.split(found, [len(rest)])
    kept_again = np.array([float(each.kept_again) for each in counts])
    found = _least(np.hstack([outside, inside]), kept_again, kept_again)
    rest_again, of_inputs = np.split(found, [len(rest)])
    peaks = np.array([float(each.peak) for each in counts])
    passing = _largest([_peak(growth, rest, blocks, of_rest, of_blocks) for growth in grown], peaks)
    whole = _largest(
        [_again(growth, rest, blocks, rest_again, of_inputs) for growth in grown],
        np.array([float(each.peak_again) for each in counts]),
    )
    size = len(rest)
    return Bytes(
        _table(rest, of_rest, passing[:size], rest_again, whole[:size], passing[-size:]),
        _table(blocks, of_blocks, passing[size:-size], of_inputs, whole[size:-size]),
    )


def _names(every: Sequence[object]) -> list[str]:
    return list(dict.fromkeys(name for terms in every for name in terms))  # type: ignore[attr-defined]


def _values(terms: object, names: Sequence[str]) -> Vector:
    return np.array([terms.get(name, 0.0) for name in names], float)  # type: ignore[attr-defined]


def _inside(growth: Growth, names: Sequence[str]) -> Vector:
    """Return the terms of all blocks together."""
    each = [count * _values(terms, names) for count, terms in growth.blocks]
    return np.sum(each, axis=0) if each else np.zeros(len(names))


def _peak(
    growth: Growth, rest: list[str], blocks: list[str], of_rest: Vector, of_blocks: Vector
) -> list[Piece]:
    """Return the sums whose largest is the peak, of unknown bytes: rest, blocks, rest alone."""
    outside, nothing = _values(growth.rest, rest), np.zeros(len(rest))
    until, pieces = float(outside @ of_rest), []
    for count, terms in growth.blocks:
        if count:
            values = _values(terms, blocks)
            until += count * float(values @ of_blocks)
            pieces.append(Piece(until, np.concatenate([nothing, values, nothing])))
    none = np.zeros(len(blocks))
    pieces.append(Piece(until, np.concatenate([outside, none, nothing])))
    return [*pieces, Piece(0.0, np.concatenate([nothing, none, outside]))]


def _again(
    growth: Growth, rest: list[str], blocks: list[str], of_rest: Vector, of_inputs: Vector
) -> list[Piece]:
    """Return the same with blocks computed again, where all inputs are kept."""
    outside, nothing = _values(growth.rest, rest), np.zeros(len(rest))
    kept = float(outside @ of_rest + _inside(growth, blocks) @ of_inputs)
    of_each = [_values(terms, blocks) for count, terms in growth.blocks if count]
    none = np.zeros(len(blocks))
    return [
        *(Piece(kept, np.concatenate([nothing, each, nothing])) for each in of_each),
        Piece(kept, np.concatenate([outside, none, nothing])),
    ]


def _largest(pieces: Sequence[list[Piece]], counts: Vector) -> Vector:
    """Return the bytes by which the largest of each list of pieces is nearest to its count."""
    size, rng = len(pieces[0][0].terms), np.random.default_rng(0)
    best, best_error = np.zeros(size), np.inf
    for _ in range(STARTS):
        found = rng.uniform(0, 8, size)
        for _ in range(ROUNDS):
            chosen = [max(each, key=lambda p: p.offset + p.terms @ found) for each in pieces]
            rows = np.array([each.terms for each in chosen])
            wanted = np.array([c - p.offset for c, p in zip(counts, chosen, strict=True)])
            before, found = found, _least(rows, wanted, counts)
            if np.allclose(before, found):
                break
        predicted = np.array([max(p.offset + p.terms @ found for p in each) for each in pieces])
        errors = np.abs(predicted / counts - 1)
        error = errors.max() + np.sqrt((errors**2).mean())
        if error < best_error:
            best, best_error = found, error
    return best


def _least(rows: Vector, wanted: Vector, scale: Vector) -> Vector:
    """Return the non-negative numbers that give `wanted`, with the least relative error."""
    found, _ = nnls(rows / scale[:, None], wanted / scale, maxiter=20_000)
    return np.asarray(found)


def _table(names: Sequence[str], *columns: Vector) -> Table:
    pairs = zip(names, np.stack(columns, 1), strict=True)
    return {name: tuple(round(float(each), 3) for each in row) for name, row in pairs}  # type: ignore[misc]
