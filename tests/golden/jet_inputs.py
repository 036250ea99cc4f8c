"""The inputs of jets' networks held to what the authors' loader makes of the same jets."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.data.experiments.jetclass import COLUMN_NAMES, JET
from pipeline.data.jet_inputs import columns_of
from pipeline.families.jet_columns import CHOICES, SPECIES
from tests.golden.cases import Case, Row, compared


def knows(case: Case) -> bool:
    """Return whether `case` is of columns of JetClass."""
    return "out_features_full" in case.arrays


def stored(arrays: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Return the columns and arrays of a store of the raw branches of a case."""
    return {
        **{name: arrays[f"raw_{name}"] for name in (*COLUMN_NAMES, "charge")},
        "species": np.stack([arrays[f"raw_is{name}"] for name in SPECIES], 1),
        "jet": np.stack([arrays[f"raw_jet_{name}"] for name in JET], 1),
    }


def held(case: Case) -> Iterator[Row]:
    """Yield how each choice of inputs compares."""
    offsets = np.concatenate([[0], np.cumsum(case.arrays["raw_sizes"])])
    columns = stored(case.arrays)
    for choice, names in CHOICES.items():
        found = columns_of(names, columns, offsets)
        tolerance = float(case.about["tolerance"]["absolute"])
        yield compared(case, f"out_features_{choice}", found, tolerance=tolerance)
