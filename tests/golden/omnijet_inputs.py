"""The features of OmniJet-alpha held to what the authors' code makes of real jets."""

from collections.abc import Iterator

import numpy as np

from pipeline.data.events import offsets_of
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.constituents import COLUMNS, NEEDED, constituents
from tests.golden.cases import Case, Row, compared


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return str(case.about.get("peer_class")).startswith("read_jetclass_file")


def held(case: Case) -> Iterator[Row]:
    """Yield how features and counts compare."""
    arrays = case.arrays
    raw = np.stack([arrays[f"raw_{name}"] for name in NEEDED[0]], 1)
    found = constituents(raw, offsets_of(arrays["raw_sizes"]))
    kept = np.minimum(arrays["out_sizes_kept"], arrays["out_features"].shape[1])
    sizes = np.diff(found.offsets)
    yield Row("out_sizes_kept", float(np.abs(sizes - kept[found.kept]).max()), 0.0)
    yield Row("particles_cut", abs(found.cut["wide"] - case.configuration["particles_cut"]), 0.0)
    features = normalised(found.points, COLUMNS)
    yield compared(case, "out_features", features, where=arrays["out_mask"])
