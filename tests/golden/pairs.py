"""Features of pairs of particles held to the authors' own, in double precision."""

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.nn.interactions import jets
from tests.golden.cases import Case, Row

SYSTEM = "pairwise_lv_fts_pp"


def knows(case: Case) -> bool:
    """Return whether `case` is of this function."""
    return case.about.get("peer_class") == SYSTEM


def held(case: Case) -> Iterator[Row]:
    """Yield the largest absolute difference of the four features of the pairs of each jet."""
    tolerance = float(case.about["tolerance"]["absolute_float64"])
    for name in case.arrays:
        if name.startswith("in_vectors"):
            number = name.removeprefix("in_vectors")
            particles = torch.from_numpy(case.arrays[name]).double()
            found = jets(particles[:, None], particles[None]).movedim(-1, 0).numpy()
            away = np.abs(found - case.arrays[f"f64_pairs{number}"]).max()
            yield Row(f"f64_pairs{number}", float(away), tolerance)
