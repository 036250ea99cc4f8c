"""STAR: hits of its time projection chamber, TTree `T` with ragged `TPCHits_*`.

The schema of mohaas33/fm4npp4starTPC, whose file of 100 events (5,165 hits) the constants are from.
Row and sector count from 1; rows 1 to 13 are the inner sectors', 14 to 45 the outer's.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.events import CARTESIAN, Events, offsets_of
from pipeline.data.experiment import Column, Entries, Experiment, Rejected
from pipeline.data.preparation.coordinates import cylindrical

TREE = "T"
MAKER = "a STAR hit tree maker"
HITS = "TPCHits_"
MEASURED = ("adc", "x", "y", "z")
TRUTH = "IdTruth"  # absent from data
# What each further branch becomes: its name in the store and its exact type.
OTHERS = {
    TRUTH: ("track_id", np.int32),
    "pad": ("pad", np.int16),
    "row": ("row", np.int8),
    "sector": ("sector", np.int8),
    "timebucket": ("timebucket", np.float32),
    "q": ("charge", np.float32),
}

SAMPLE = "mean and standard deviation of 5,165 hits in 100 simulated events"
CHAMBER = "STAR's chamber: 50 to 200 cm, 4.2 m long (NIM A 499 (2003) 659)"
COLUMNS = (
    Column(name="energy", unit="ADC", offset=348.3, scale=449.4, provenance=SAMPLE),
    Column(name="eta", unit="1", offset=-2.0, scale=4.0, provenance=CHAMBER),
    Column(name="phi", unit="rad", offset=-np.pi, scale=2 * np.pi, provenance="a full turn"),
    Column(name="r", unit="cm", offset=50.0, scale=150.0, provenance=CHAMBER),
)


@contextlib.contextmanager
def open_star(path: Path) -> Iterator[Entries]:
    """Open `path`; none of its events is ever rejected.

    Raises:
        BadInput: The file is damaged, or has no tree `T` with the branches of hits.
    """
    from pipeline.data.readers.exact import exact, rounded
    from pipeline.data.readers.root_branches import stacked, tree_of
    from pipeline.data.readers.root_files import opened_tree

    with opened_tree(path, TREE, MAKER) as found:
        left_out = {TRUTH} if HITS + TRUTH not in found else set()
        others = {name: kind for name, kind in OTHERS.items() if name not in left_out}
        branches = tuple(HITS + name for name in (*MEASURED, *others))
        tree = tree_of(path, found, MAKER, ragged=branches)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            columns = tree.columns(branches, start, stop)
            with np.errstate(over="ignore"):  # what 32 bits cannot hold is infinite, and refused
                points, sizes = stacked(columns, len(MEASURED))
            events = Events(
                source=str(path),
                columns=CARTESIAN,
                points=points,
                offsets=offsets_of(sizes),
                event_id=np.arange(start, stop),
                per_point={
                    name: rounded(path, column.branch.name, column.values())
                    if kind is np.float32
                    else exact(path, column.branch.name, column.values(), kind)
                    for (name, kind), column in zip(others.values(), columns, strict=True)
                },
            )
            return events, {}

        yield Entries(tree.entries, read, checksum=tree.checksum)


STAR = Experiment(
    name="star",
    title="STAR time projection chamber: TPCHits of a ROOT tree",
    columns=COLUMNS,
    readers={".root": "pipeline.data.experiments.star:open_star"},
    transform=cylindrical,
    order="REP",
    axes=("eta", "phi", "r"),
    group_limits=(125.0,),  # cm: the gap between inner and outer sectors
)
