"""sPHENIX: space points of its time projection chamber, prepared as FM4NPP (arXiv:2508.14087)."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import CARTESIAN, Events
from pipeline.data.experiment import Column, Experiment
from pipeline.data.preparation.coordinates import cylindrical

SPACEPOINTS = "spacepoints"
HDF5 = "pipeline.data.readers.sphenix_hdf5:open_hdf5"
LABEL_FILES = {"track_id": "track_ids", "pid": "pid_labels", "noise": "noise_tags"}

# The constants that FM4NPP took from TPCpp-10M; eta in [-2, 2], phi in [-π, π].
PROVENANCE = "FM4NPP, arXiv:2508.14087, from TPCpp-10M"
RADII_CM = (31.371997833251953, 75.38493347167969)
COLUMNS = (
    Column(name="energy", unit="ADC", offset=253.0982, scale=268.7093, provenance=PROVENANCE),
    Column(name="eta", unit="1", offset=-2.0, scale=4.0, provenance=PROVENANCE),
    Column(name="phi", unit="rad", offset=-np.pi, scale=2 * np.pi, provenance=PROVENANCE),
    Column(
        name="r",
        unit="cm",
        offset=RADII_CM[0],
        scale=RADII_CM[1] - RADII_CM[0],
        provenance=PROVENANCE,
    ),
)


def companions(path: str) -> tuple[str, ...]:
    """Return the label files that may lie beside the spacepoints `path` of TPCpp-10M."""
    name = PurePosixPath(path).name
    if SPACEPOINTS not in name or not name.endswith(".npz"):
        return ()
    return tuple(name.replace(SPACEPOINTS, each, 1) for each in LABEL_FILES.values())


def with_energy(events: Events) -> Events:
    """Return `events` with the columns energy, eta, phi, r.

    Raises:
        BadInput: They have no energy, as the tree maker's HDF5 dumps have none.
    """
    if events.columns != CARTESIAN:
        message = (
            f"{events.source}: the clusters have no energy (no column E). Stage such dumps as "
            "experiment 'sphenix-positions', or make them with E."
        )
        raise BadInput(message)
    return cylindrical(events)


SPHENIX = Experiment(
    name="sphenix",
    title="sPHENIX time projection chamber: TPCpp-10M npz, the tree maker's ROOT and HDF5",
    columns=COLUMNS,
    readers={
        ".npz": "pipeline.data.readers.sphenix_npz:open_npz",
        ".root": "pipeline.data.readers.sphenix_root:open_root",
        ".h5": HDF5,
        ".hdf5": HDF5,
    },
    companions=companions,
    transform=with_energy,
    max_points=3200,
    order="REP",
    axes=("eta", "phi", "r"),
    group_limits=(40.0, 57.0),  # cm: the gaps between the TPC's three groups of pad rows
)


def without_energy(events: Events) -> Events:
    """Return `events` with the columns eta, phi, r."""
    where = [events.columns.index(name) for name in CARTESIAN[1:]]
    return cylindrical(replace(events, points=events.points[:, where], columns=CARTESIAN[1:]))


POSITIONS = replace(
    SPHENIX,
    name="sphenix-positions",
    title="sPHENIX without energies, as the tree maker's HDF5 dumps are",
    columns=COLUMNS[1:],
    transform=without_energy,
)
