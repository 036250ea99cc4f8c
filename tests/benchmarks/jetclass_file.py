"""A file in JetClass's schema, of toy jets, and uproot that decodes it and drops the arrays."""

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from pipeline.data.events import Events
from tests.benchmarks import samples

TREE = "tree"
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
LABEL_TYPES = {"QCD": np.float32, **dict.fromkeys(CLASSES[1:6], np.bool_)}
SPECIES = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
OF_JET = ("pt", "eta", "phi", "energy", "nparticles", "sdmass", "tau1", "tau2", "tau3", "tau4")
BASKET_JETS = 10_000  # in one basket of each branch
BATCH_JETS = 10_000


def write(path: Path, count: int) -> Path:
    """Write `count` toy jets with all branches of the release, compressed with zlib as those are.

    uproot writes `part_*` as arrays with a counter where the release has vector<float>; every
    program reads both alike.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    jets = samples.jets(count)
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        first = _branches(jets.slice(0, 1))
        kinds = {
            name: each.type.content if isinstance(each, ak.Array) else each.dtype
            for name, each in first.items()
        }
        tree = file.mktree(TREE, kinds)
        for start in range(0, count, BASKET_JETS):
            tree.extend(_branches(jets.slice(start, min(start + BASKET_JETS, count))))
    return path


def _branches(jets: Events) -> dict[str, ak.Array | np.ndarray]:
    count = len(jets)
    rng = np.random.default_rng(int(jets.event_id[0]))
    charged = jets.column("d0err") != 0
    kind = np.where(charged, rng.choice([0, 3, 4], len(charged)), rng.choice([1, 2], len(charged)))
    particles = {name: jets.column(name) for name in jets.columns}
    particles["charge"] = (charged * rng.choice([-1, 1], len(charged))).astype(np.float32)
    for number, name in enumerate(SPECIES):
        particles[f"is{name}"] = (kind == number).astype(np.int32)
    label = jets.event_id % len(CLASSES)
    of_jet = {f"jet_{name}": rng.random(count, np.float32) for name in OF_JET}
    return {
        "part": ak.zip({name: ak.unflatten(each, jets.sizes) for name, each in particles.items()}),
        **{
            f"label_{name}": (label == number).astype(LABEL_TYPES.get(name, np.int32))
            for number, name in enumerate(CLASSES)
        },
        **of_jet,
        "jet_nparticles": jets.sizes.astype(np.float32),
    }


def decode(path: Path) -> int:
    """Return how many jets uproot has decoded, all branches that our reader takes."""
    names = [
        *(f"part_{name}" for name in (*samples.JET_COLUMNS, "charge")),
        *(f"part_is{name}" for name in SPECIES),
        *(f"label_{name}" for name in CLASSES),
        *(f"jet_{name}" for name in OF_JET),
    ]
    with uproot.open(path) as file:
        batches = file[TREE].iterate(names, step_size=BATCH_JETS)
        return sum(len(batch) for batch in batches)
