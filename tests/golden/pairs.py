"""Features of pairs of particles held to the authors' own, in double precision and in single."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.nn.interactions import jets, jets8
from tests.golden.cases import Case, Row

SYSTEM = "pairwise_lv_fts_pp"
OF_ITSELF, COSINE = "measured_float32_against_float64_absolute", 5
SLACK = 1.01


def knows(case: Case) -> bool:
    """Return whether `case` is of this function."""
    return case.about.get("peer_class") == SYSTEM


def held(case: Case) -> Iterator[Row]:
    """Yield the largest absolute difference of the features of the pairs of each jet.

    The authors' single precision is held to what it was measured to be away from their double.
    """
    exact = float(case.about["tolerance"]["absolute_float64"])
    for name in case.arrays:
        if not name.startswith("in_vectors"):
            continue
        number = name.removeprefix("in_vectors")
        particles = torch.from_numpy(case.arrays[name]).double()
        four, eight = (
            of(particles[:, None], particles[None]).movedim(-1, 0).numpy() for of in (jets, jets8)
        )
        own = max(case.about[OF_ITSELF][number].values())
        yield from _row(case, f"f64_pairs{number}", four, exact)
        yield from _row(case, f"out_pairs{number}", four, SLACK * own)
        yield from _row(case, f"f64_pairs8_{number}", _without_itself(eight), exact)
        yield from _row(case, f"out_pairs8_{number}", _without_itself(eight)[:4], SLACK * own)


def _without_itself(features: NDArray[Any]) -> NDArray[Any]:
    """Return features (8, P, P) with a cosine of 0 of each particle with itself.

    There it is rounding over rounding.
    """
    features = features.copy()
    np.fill_diagonal(features[COSINE], 0.0)
    return features


def _row(case: Case, name: str, ours: NDArray[Any], tolerance: float) -> Iterator[Row]:
    """Yield how far `ours` is from the array `name`, if the case has it, or from its first."""
    if name in case.arrays:
        theirs = case.arrays[name].astype(np.float64)
        if len(theirs) > COSINE:
            theirs = _without_itself(theirs)
        yield Row(name, float(np.abs(ours - theirs[: len(ours)]).max()), tolerance)
