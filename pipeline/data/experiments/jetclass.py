"""JetClass and JetClass-II: jets as sets of particles, in 10 or 188 classes.

JetClass: Qu, Li, Qian, arXiv:2202.03772, doi:10.5281/zenodo.6619768. JetClass-II: Li et al.,
arXiv:2405.12972. Both give a particle the same columns. They are two experiments because a label
means another thing in each, and a store has one meaning of its labels.
"""

from collections.abc import Callable

import numpy as np

from pipeline.data.events import Events, Floats, Mask
from pipeline.data.experiment import Column, Experiment, Limit, Rejected
from pipeline.downstream.jets import spec as heads
from pipeline.families.jet_columns import SPECIES

CLASSES = heads.JETCLASS
JET = ("pt", "eta", "phi", "energy")
TAU = ("tau1", "tau2", "tau3", "tau4")
UNITS = {
    **dict.fromkeys(("px", "py", "pz", "energy"), "GeV"),
    "deta": "1",  # grows away from the beam's centre: (eta - jet_eta) × sign(jet_eta)
    "dphi": "rad",
    **dict.fromkeys(("d0val", "d0err", "dzval", "dzerr"), "mm"),
}
COLUMN_NAMES = tuple(UNITS)
CLASSES2 = 188  # classes of JetClass-II
# The branches that both formats share.
POINTS = tuple(f"part_{name}" for name in COLUMN_NAMES)
FLAGS = tuple(f"part_is{name}" for name in SPECIES)
OF_JET = tuple(f"jet_{name}" for name in (*JET, "nparticles", "sdmass", *TAU))
# Models take functions of these, not these: pipeline/data/jet_inputs.py.
COLUMNS = tuple(
    Column(name=name, unit=unit, offset=0.0, scale=1.0, provenance="as in the file")
    for name, unit in UNITS.items()
)


def hardest_by(hardness: Callable[[Events], Floats]) -> Limit:
    """Return a limit that keeps of a large jet the particles (P) of most `hardness`.

    They stay in the order of the file. Counts `shortened`, in jets: none of them is lost.
    """

    def hardest(events: Events, most: int) -> tuple[Events, Rejected]:
        large = events.sizes > most
        if not large.any():
            return events, {"shortened": 0}
        keep = _is_hard(hardness(events), events, large, most)
        return events.thin(keep), {"shortened": int(large.sum())}

    return hardest


def _is_hard(hardness: Floats, events: Events, large: Mask, most: int) -> Mask:
    """Return whether each particle (P) is kept: of `large` jets the `most` hardest, first first."""
    keep = np.ones(len(events.points), np.bool_)
    rows = np.flatnonzero(large[events.event])
    event = events.event[rows]
    order = np.lexsort((-hardness[rows], event))
    rank = np.arange(len(rows)) - np.searchsorted(event, event)
    keep[rows[order]] = rank < most
    return keep


def pt_gev(events: Events) -> Floats:
    """Return the transverse momentum (P) of each particle."""
    pt: Floats = np.hypot(events.column("px"), events.column("py"))
    return pt


JETCLASS = Experiment(
    name="jetclass",
    title="JetClass: ten classes of jets with 500 < pT < 1000 GeV, as released in ROOT files",
    columns=COLUMNS,
    readers={".root": "pipeline.data.readers.jetclass_root:open_root"},
    limit=hardest_by(pt_gev),
    classes=len(CLASSES),
    max_points=256,
    block_events=4096,
    shard_events=32_768,
)
JETCLASS2 = Experiment(
    name="jetclass2",
    title="JetClass-II: 188 classes of jets, as released in parquet files",
    columns=COLUMNS,
    readers={".parquet": "pipeline.data.readers.jetclass_parquet:open_parquet"},
    limit=hardest_by(pt_gev),
    classes=CLASSES2,
    max_points=256,
    block_events=4096,
    shard_events=32_768,
)
