"""Sample files of JetClass: jets of one class each, in the branches and types of the release.

Particle level by Pythia 8 and FastJet, no Delphes: particles are seen with their true momentum and
kind, and impact parameters alone are blurred. uproot writes `part_*` as arrays with a counter where
the release has vector<float>; every program reads both alike. Axes: E jets, P particles.
"""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from pipeline.campaign import JETCLASS_PROCESSES, Simulation
from pipeline.data.events import Array, Doubles, Integers
from pipeline.data.experiments.jetclass import CLASSES, TAU
from pipeline.data.simulation.jet_events import PROCESSES, Collider, Visible
from pipeline.data.simulation.jet_finding import Jet, find, polar
from pipeline.data.simulation.root_file import recreated
from pipeline.data.simulation.simulator import Made, Simulator

TREE = "tree"
PROMPT_MM, VERTEX_MM = 0.010, 0.001  # of the collision itself; of one vertex
MANY_COLLISIONS = 1000  # without one jet: something is wrong with the process
LABEL_TYPES: dict[str, Any] = {
    "QCD": np.float32,
    **dict.fromkeys(("Hbb", "Hcc", "Hgg", "H4q", "Hqql"), np.bool_),
    **dict.fromkeys(("Zqq", "Wqq", "Tbqq", "Tbl"), np.int32),
}


def jets(process: str, count: int, seed: int) -> list[Jet]:
    """Return `count` jets of `process`; the same seed gives the same jets.

    Raises:
        RuntimeError: No jet comes of many collisions, or Pythia gave up.
    """
    wanted = PROCESSES[process]
    found: list[Jet] = []
    barren = 0
    for particles, truths in Collider(wanted, seed).collisions():
        jet = find(particles, truths, wanted)
        barren = 0 if jet else barren + 1
        if jet:
            found.append(jet)
        if len(found) == count:
            break
        if barren == MANY_COLLISIONS:
            message = f"{process}: {barren} collisions without a jet; run with another seed."
            raise RuntimeError(message)
    return found


def resolution_mm(pt_gev: Doubles) -> tuple[Doubles, Doubles]:
    """Return the resolutions of d0 and dz of charged particles, in mm.

    Our fit to the errors of JetClass-II's 100 example jets: its medians in six bins of pT from 0.5
    to 500 GeV are met within 17 %.
    """
    return np.hypot(0.010, 0.09 * pt_gev**-0.7), np.hypot(0.031, 0.15 * pt_gev**-0.75)


def impact(particles: Visible, rng: np.random.Generator) -> dict[str, Doubles]:
    """Return d0, dz and their errors in mm, all 0 for neutral particles.

    Tracks are straight lines from where the particle was made, as they leave the collision.
    """
    x, y, z = particles.vertex.T
    px, py, pz, _ = particles.momentum.T
    pt = np.hypot(px, py)
    d0_error, dz_error = resolution_mm(pt)
    d0 = (x * py - y * px) / pt
    dz = z - (x * px + y * py) / pt * pz / pt
    seen = particles.charge != 0
    return {
        "d0val": seen * (d0 + d0_error * rng.normal(size=len(pt))),
        "d0err": seen * d0_error,
        "dzval": seen * (dz + dz_error * rng.normal(size=len(pt))),
        "dzerr": seen * dz_error,
    }


def vertices(particles: Visible, owner: Integers) -> Array:
    """Return at which vertex of its jet each particle (P) was made; `owner` (P) are the jets.

    0 is the collision, or nearer to it than 10 µm; others count from 1, by their positions to a µm.
    """
    away = np.linalg.norm(particles.vertex, axis=1) > PROMPT_MM
    keys = np.column_stack([owner, np.round(particles.vertex / VERTEX_MM)])
    _, number = np.unique(keys[away], axis=0, return_inverse=True)
    first = np.full(owner.max(initial=0) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, owner[away], number.ravel())
    found = np.zeros(len(owner), np.int32)
    found[away] = number.ravel() - first[owner[away]] + 1
    return found


def species(pdg: Array, charge: Array) -> dict[str, Array]:
    """Return the five flags (P) of particles."""
    code = np.abs(pdg)
    lepton, photon = (code == 11) | (code == 13), code == 22
    return {
        "isChargedHadron": (charge != 0) & ~lepton,
        "isNeutralHadron": (charge == 0) & ~photon,
        "isPhoton": photon,
        "isElectron": code == 11,
        "isMuon": code == 13,
    }


def particle_branches(found: list[Jet], rng: np.random.Generator) -> dict[str, Array]:
    """Return the branches `part_*` of the particles of all jets, (P) each, without the prefix."""
    visible = Visible(
        *(
            np.concatenate([getattr(jet.particles, name) for jet in found])
            for name in ("momentum", "vertex", "pdg", "charge")
        )
    )
    owner = np.repeat(np.arange(len(found)), _sizes(found))
    _, jet_eta, jet_phi = polar(np.array([jet.momentum for jet in found]))
    _, eta, phi = polar(visible.momentum)
    dphi = (phi - jet_phi[owner] + np.pi) % (2 * np.pi) - np.pi
    columns: dict[str, Array] = {
        **dict(zip(("px", "py", "pz", "energy"), visible.momentum.T, strict=True)),
        # The release mirrors jets so that all lie forward.
        "deta": (eta - jet_eta[owner]) * np.where(jet_eta[owner] < 0, -1, 1),
        "dphi": dphi,
        **impact(visible, rng),
        "charge": visible.charge,
    }
    flags = species(visible.pdg, visible.charge)
    return {
        **{name: values.astype(np.float32) for name, values in columns.items()},
        **{name: values.astype(np.int32) for name, values in flags.items()},
        "vertex": vertices(visible, owner),  # truth that the release does not have
    }


def jet_branches(found: list[Jet], label: int) -> dict[str, Array]:
    """Return the branches of whole jets, (E) each: labels, the jet, and its truth `aux_*`."""
    momentum = np.array([jet.momentum for jet in found])
    truth = np.array([jet.truth.momentum if jet.truth else np.zeros(4) for jet in found])
    codes = np.array([jet.truth.pdg if jet.truth else 0 for jet in found])
    tau = np.array([jet.tau for jet in found])
    columns: dict[str, Array] = {
        **dict(zip(("jet_pt", "jet_eta", "jet_phi"), polar(momentum), strict=True)),
        "jet_energy": momentum[:, 3],
        "jet_nparticles": _sizes(found),
        "jet_sdmass": np.array([jet.groomed_mass for jet in found]),
        **{f"jet_{name}": tau[:, column] for column, name in enumerate(TAU)},
        **_auxiliary(truth, codes),
    }
    labels = {
        f"label_{name}": np.full(len(found), number == label, LABEL_TYPES[name])
        for number, name in enumerate(CLASSES)
    }
    return {**labels, **{name: each.astype(np.float32) for name, each in columns.items()}}


def _auxiliary(truth: Doubles, codes: Integers) -> dict[str, Array]:
    """Return the resonance of each jet; all 0 where the process has none."""
    known = codes != 0
    pt, eta, phi = polar(np.where(known[:, None], truth, 1.0))
    names = ("aux_genpart_pt", "aux_genpart_eta", "aux_genpart_phi")
    columns = {name: known * each for name, each in zip(names, (pt, eta, phi), strict=True)}
    return {**columns, "aux_genpart_pid": codes}


def _sizes(found: list[Jet]) -> Integers:
    return np.array([len(jet.particles.pdg) for jet in found])


def write_root(path: Path, found: list[Jet], *, label: int, rng: np.random.Generator) -> None:
    """Write jets of class `label` as TTree `tree` in `path`, whole or not at all.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    particles = particle_branches(found, rng)
    sizes = _sizes(found)
    table = ak.zip({name: ak.unflatten(each, sizes) for name, each in particles.items()})
    of_jets = jet_branches(found, label)
    kinds = {"part": table.type.content, **{name: each.dtype for name, each in of_jets.items()}}
    with recreated(path) as file:
        tree = file.mktree(TREE, kinds)  # `file[TREE] = …` would make an RNTuple
        tree.extend({"part": table, **of_jets})


def write(path: Path, simulation: Simulation, number: int, seed: int) -> Made:
    """Write jets of the class of file `number` as `path`."""
    process = JETCLASS_PROCESSES[number % len(JETCLASS_PROCESSES)]
    found = jets(process, simulation.events_per_file, seed)
    rng = np.random.default_rng([seed, 1])
    write_root(path, found, label=PROCESSES[process].label, rng=rng)
    return Made((path,), len(found), int(_sizes(found).sum()))


SIMULATOR = Simulator(write)
